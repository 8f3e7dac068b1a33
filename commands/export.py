"""`segship export`: a checkpoint to ONNX, or back to transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..common.cli_options import FILE, check_writable, export_options, refuse_given, settings_option
from .shared import console


@click.command()
@click.argument("checkpoint")
@click.option("-o", "--out", type=FILE, required=True, metavar="FILE",
              help="ONNX file to write; for --to hf a new folder.")  # fmt: skip  # one option
@export_options
@settings_option
@click.pass_context
def export(
    ctx: click.Context, /, checkpoint: str, out: Path, to: str, explain: bool, **options: Any
) -> None:
    """Export to ONNX with the exact rewrites, checked against torch.

    With --to hf the checkpoint is written as a folder transformers loads; what that loses is said.
    With --module FILE.py:CLASS any torch network can be exported: FILE.py is executed.

    Example: segship export my_checkpoint -o model.onnx --size 512x1024
    """
    if to == "hf":
        return _export_hf(ctx, checkpoint, out, options)
    check_writable(out)
    from ..data.contract import InputKind, OutputKind
    from ..models.checkpoints import load_checkpoint
    from ..models.checkpoints.settings import parse_settings
    from ..reports.export_table import print_export

    given: dict[str, Any] = {
        "output_kind": OutputKind(options.pop("output")),
        "input_kind": InputKind(options.pop("input_")),
        "size_px": options.pop("size"),
    }
    fold, module, text = (options.pop(name) for name in ("no_fold", "module", "module_args"))
    stated = parse_settings(options.pop("settings"))
    if module:
        refuse_given(ctx, "A module of your own is not rewritten", "no_fold", "explain")
        from ..optimize.export_module import export_module

        click.echo(f"runs the code of {module.rpartition(':')[0]}, as --module asks")
        given |= {"arguments": text, "settings": stated}
        report = export_module(checkpoint, module, out, **given, **options)
    else:
        refuse_given(ctx, "Only --module takes arguments", "module_args")
        from ..optimize.export import export as export_checkpoint

        source = load_checkpoint(checkpoint, settings=stated)
        report = export_checkpoint(source, out, fold=not fold, **given, **options)
    print_export(report, console(), explain=explain)


def _export_hf(ctx: click.Context, checkpoint: str, out: Path, options: dict[str, Any]) -> None:
    onnx_only = ("module", "module_args", "batch", "dynamic", "output", "input_", "no_fold")
    checks = ("opset", "data", "images", "explain")
    refuse_given(ctx, "A folder for transformers takes --size and --set", *onnx_only, *checks)
    from ..common.files import probe_new_folder

    probe_new_folder(out)
    from ..models.checkpoints import load_checkpoint
    from ..models.checkpoints.settings import parse_settings
    from ..optimize.export_hf import export_hf
    from ..reports.export_table import print_hf_export

    source = load_checkpoint(checkpoint, settings=parse_settings(options["settings"]))
    print_hf_export(export_hf(source, out, size_px=options["size"]), console())
