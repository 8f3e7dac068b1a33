"""The verbs: a command parses, calls the one documented function behind it, and prints."""

import importlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

# Absolute, because `python cli.py` runs this file as a script without a package.
from segship import __version__
from segship.common.cli_exit import OneLineGroup
from segship.common.cli_options import (
    COUNT,
    FILE,
    SIZE,
    check_writable,
    clock_options,
    export_options,
    json_option,
    measure_options,
    refuse_given,
    runtime_options,
    settings_option,
)
from segship.common.cli_quantize import quantize_options

if TYPE_CHECKING:
    from rich.console import Console

    from segship.benchmark.candidate import Candidate
    from segship.benchmark.record import Record
    from segship.benchmark.scoring import Scoring


@click.group(
    cls=OneLineGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="segship")
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
def segship(debug: bool) -> None:  # OneLineGroup reads it from the context
    """Ship a trained SegFormer: the fastest artifact that keeps its accuracy, with the proof.

    An ARTIFACT is an ONNX file; a checkpoint (folder, file or hub id) serves everywhere an
    artifact does. SPEC names data as FORMAT:PATH[@SPLIT]; FORMAT is folder, yaml (a file that
    describes your own), ade20k, arrays, bdd100k, camvid, camvid-colour, cityscapes, cityscapes-8,
    cityscapes-course, depth, segformer3d or scenes (scenes:N, drawn here).

    Exit codes: 0 fine, 1 a check failed, 2 wrong input, 70 a defect of segship.

    Example: segship run examples/demo/recipe.yaml
    """


@segship.command()
@click.argument("source", metavar="CHECKPOINT|ARTIFACT")
@click.option("--size", type=SIZE, help="Count GMACs at this size (the contract's).")
@settings_option
@click.option("--save", is_flag=True, help="Keep what --set says beside SOURCE, for every command.")
@json_option
def inspect(
    source: str,
    size: tuple[int, int] | None,
    settings: tuple[str, ...],
    save: bool,
    as_json: bool,
) -> None:
    """Say what a file is: flavour, variant, cost, classes, preprocessing.

    What no file says (LayerNorm eps, mean and std, class names) is decided by its flavour and
    shown; --set corrects it here, --save for good, in SOURCE.segship.yaml.

    Example: segship inspect best.pth --set mean=0.485,0.56,0.406 --set classes=road,car --save
    """
    from .benchmark.inspection import inspect as inspect_source
    from .models.checkpoints.settings import keep_settings, parse_settings
    from .reports.inspect_table import print_inspection

    stated = parse_settings(settings)
    found = inspect_source(source, size, settings=stated)
    if save:
        click.echo(f"kept for every command: {keep_settings(source, stated)}", err=True)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        print_inspection(found, _console())


@segship.command()
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
    from .data.contract import InputKind, OutputKind
    from .models.checkpoints import load_checkpoint
    from .models.checkpoints.settings import parse_settings
    from .reports.export_table import print_export

    given: dict[str, Any] = {
        "output_kind": OutputKind(options.pop("output")),
        "input_kind": InputKind(options.pop("input_")),
        "size_px": options.pop("size"),
    }
    fold, module, text = (options.pop(name) for name in ("no_fold", "module", "module_args"))
    stated = parse_settings(options.pop("settings"))
    if module:
        refuse_given(ctx, "A module of your own is not rewritten", "no_fold", "explain")
        from .optimize.export_module import export_module

        click.echo(f"runs the code of {module.rpartition(':')[0]}, as --module asks")
        given |= {"arguments": text, "settings": stated}
        report = export_module(checkpoint, module, out, **given, **options)
    else:
        refuse_given(ctx, "Only --module takes arguments", "module_args")
        from .optimize.export import export as export_checkpoint

        source = load_checkpoint(checkpoint, settings=stated)
        report = export_checkpoint(source, out, fold=not fold, **given, **options)
    print_export(report, _console(), explain=explain)


@segship.command()
@click.argument("source", metavar="CHECKPOINT|ONNX")
@quantize_options
@settings_option
@json_option
@click.pass_context
def quantize(
    ctx: click.Context, /, source: str, out: Path, explain: bool, as_json: bool, **options: Any
) -> None:
    """Write an ONNX file in fewer bits, calibrated on real images.

    A checkpoint is scaled exactly and exported first; an ONNX file must be in float. --explain
    says per node what became of it and what that costs.

    Example: segship quantize my_checkpoint -o int8.onnx --precision int8 --data camvid:cv@train
    """
    files = {"json_path": options.pop("record")}
    files |= {name: options.pop(name) for name in ("html", "markdown")}
    check_writable(out, options["ranges"], *files.values())
    if options["evaluation"] is None:
        refuse_given(ctx, "Only --eval makes a record", "record", "html", "markdown")
    if options["precision"] != "mixed":
        refuse_given(ctx, "Only --precision mixed searches", "trials", "threads")
    if Path(source).suffix.lower() == ".onnx":
        names = ("size", "dynamic", "output", "input_", "opset")
        refuse_given(ctx, "An ONNX file keeps its form", *names)
    from .optimize.quantize.quantize import quantize as quantize_source
    from .reports.quantize_table import print_quantized

    report = quantize_source(source, out, say=_aside, **_quantizing(options))
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1, allow_nan=False))
    else:
        print_quantized(report, _console(), explain=explain)
    if report.record is not None:
        from .reports.write import write_record

        for path in write_record(report.record, **files):
            click.echo(f"written: {path}", err=True)
    report.refuse_drop()


@segship.command()
@click.option("--data", required=True, metavar="SPEC", help="FORMAT:PATH[@SPLIT].")
@measure_options
def evaluate(artifacts: tuple[str, ...], data: str, **options: Any) -> None:
    """Measure accuracy only; the first artifact is the baseline.

    An artifact may name what runs it: FILE@RUNTIME[:PRECISION].

    Example: segship evaluate plain.onnx model.onnx@openvino --data camvid:../camvid@val
    """
    outputs = _outputs(options)
    from .benchmark.evaluate import evaluate as evaluate_candidates

    options["scoring"] = _scoring(options)
    candidates = _candidates(artifacts, options)
    _deliver(evaluate_candidates(candidates, data, **options), outputs)


@segship.command()
@measure_options
@clock_options
def benchmark(artifacts: tuple[str, ...], data: str | None, **options: Any) -> None:
    """Measure accuracy, latency, whole frames, memory and cold start.

    Candidates are timed interleaved, each in a process of its own. An artifact may name what
    runs it: FILE@RUNTIME[:PRECISION]. With --sizes, --batches or --sweep-threads only the
    latency of every combination is measured.

    Example: segship benchmark plain.onnx model.onnx@openvino --data scenes:64 --html r.html
    """
    outputs = _outputs(options)
    from .benchmark.run import benchmark as benchmark_candidates

    axes = [options.pop(name) or () for name in ("sizes", "batches", "sweep_threads")]
    candidates = _candidates(artifacts, options)
    if any(axes):
        return _sweep(candidates, axes, outputs, {"data": data, **options})
    options["scoring"] = _scoring(options)
    settings = {name: value for name, value in options.items() if value is not None}
    _deliver(benchmark_candidates(candidates, data, **settings), outputs)


@segship.command()
@click.argument("artifact")
@click.argument("images", type=FILE, metavar="IMAGE|FOLDER")
@click.option("-o", "--out", type=FILE, required=True, metavar="FOLDER", help="Where they go.")
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Opacity of the labels over the photo.")  # fmt: skip  # one option, two lines
@runtime_options
def predict(artifact: str, images: Path, out: Path, alpha: float, **options: Any) -> None:
    """Write an overlay and a label PNG for each image, and its depth where the model has it.

    Example: segship predict model.onnx photos/ -o predictions/
    """
    from .runtimes.predict import predict as predict_images

    for item in predict_images(artifact, images, out, alpha=alpha, **options):
        click.echo("  ".join(map(str, item.files)))


@segship.command("debug")
@click.argument("a")
@click.argument("b")
@click.option("--data", required=True, metavar="SPEC", help="FORMAT:PATH[@SPLIT].")
@click.option("--images", type=COUNT, default=8, show_default=True, help="How many of it.")
@click.option("--threshold", type=float, default=20.0, show_default=True, metavar="DB",
              help="A part with more noise of its own than this counts as broken.")  # fmt: skip
@click.option("--threads", type=COUNT, metavar="N", help="Threads (all physical cores).")
@json_option
def debug_command(a: str, b: str, threshold: float, as_json: bool, **options: Any) -> None:
    """Name the part where B parts from A, and the first NaN or Inf.

    A and B are ONNX files or checkpoints of one model. Every part is judged by what it makes of
    A's own values, so that it is not blamed for noise that reached it.

    Example: segship debug model.onnx int8.onnx --data camvid:../camvid@val
    """
    from .benchmark.debug import debug
    from .reports.debug_table import print_debug

    found = debug(a, b, threshold_db=threshold, **options)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        print_debug(found, _console())


@segship.command()
@click.argument("records", nargs=-1, required=True, metavar="RECORD.json", type=FILE)
@click.option("-o", "--out", type=FILE, required=True, help="report.html or report.md.")
def report(records: tuple[Path, ...], out: Path) -> None:
    """Render a saved record again, as HTML or Markdown by the suffix.

    Example: segship report record.json -o report.html
    """
    from .reports.write import write_report

    click.echo(f"report: {write_report(records, out)}")


@segship.command()
@click.argument("recipe", metavar="RECIPE.yaml")
@click.option("--resume", is_flag=True, help="Skip the steps whose inputs have not changed.")
def run(recipe: str, resume: bool) -> None:
    """Follow a recipe: checkpoint, exports, measurements, report.

    Example: segship run examples/demo/recipe.yaml --resume
    """
    from .recipes.run import run_recipe
    from .reports.table import print_record

    result = run_recipe(recipe, resume=resume, say=click.echo)
    print_record(result.record, _console())
    click.echo(f"report: {result.report.resolve()}")


@segship.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can run, and how to get the rest.

    Exits with 1 where something segship needs is missing or broken.

    Example: segship doctor
    """
    from .reports.doctor_table import print_findings
    from .runtimes.doctor import State
    from .runtimes.doctor import doctor as examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(item) for item in findings], indent=1))
    else:
        print_findings(findings, _console())
    if any(item.state is State.PROBLEM for item in findings):
        raise click.exceptions.Exit(1)


def _export_hf(ctx: click.Context, checkpoint: str, out: Path, options: dict[str, Any]) -> None:
    onnx_only = ("module", "module_args", "batch", "dynamic", "output", "input_", "no_fold")
    checks = ("opset", "data", "images", "explain")
    refuse_given(ctx, "A folder for transformers takes --size and --set", *onnx_only, *checks)
    from .common.files import probe_new_folder

    probe_new_folder(out)
    from .models.checkpoints import load_checkpoint
    from .models.checkpoints.settings import parse_settings
    from .optimize.export_hf import export_hf
    from .reports.export_table import print_hf_export

    source = load_checkpoint(checkpoint, settings=parse_settings(options["settings"]))
    print_hf_export(export_hf(source, out, size_px=options["size"]), _console())


def _quantizing(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `quantize` as the function behind it takes them."""
    from .data.contract import InputKind, OutputKind
    from .models.checkpoints.settings import parse_settings

    return {
        "settings": parse_settings(options.pop("settings")),
        "size_px": options.pop("size"),
        "output_kind": OutputKind(options.pop("output")),
        "input_kind": InputKind(options.pop("input_")),
        "scaling": not options.pop("no_scaling"),
        **options,
    }


def _aside(line: str) -> None:
    click.echo(line, err=True)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _candidates(artifacts: tuple[str, ...], options: dict[str, Any]) -> "list[Candidate]":
    """Read the artifacts; those that name no runtime get `--runtime` and `--precision`."""
    from .benchmark.candidate import read_candidates

    default = {name: options.pop(name) for name in ("runtime", "precision")}
    return read_candidates(artifacts, **default)


def _scoring(options: dict[str, Any]) -> "Scoring":
    """Take the protocol's options out of the options."""
    from .benchmark.scoring import read_scoring

    names = ("protocol", "crop", "stride", "flip", "at", "level", "exclude")
    given = {name: options.pop(name) for name in names}
    return read_scoring(**{name: value for name, value in given.items() if value is not None})


def _sweep(
    candidates: "list[Candidate]",
    axes: list[Any],
    outputs: dict[str, Path | None],
    others: dict[str, Any],
) -> None:
    """Measure every combination, print the rows and write them as JSON where asked."""
    from .benchmark.sweep import save_sweep, sweep
    from .reports.sweep_table import print_sweep

    threads, json_path = others.pop("threads"), outputs.pop("json_path")
    if unused := [name.replace("_", "-") for name, value in (others | outputs).items() if value]:
        raise click.UsageError(f"A sweep measures latency alone: leave out --{unused[0]}.")
    asked = [replace(item, threads=threads) for item in candidates]
    result = sweep(asked, sizes=axes[0], batches=axes[1], threads=axes[2])
    print_sweep(result, _console())
    if json_path:
        save_sweep(result, json_path)


def _outputs(options: dict[str, Any]) -> dict[str, Path | None]:
    """Take the output paths out of the options, each known to be writable."""
    outputs = {name: options.pop(name) for name in ("json_path", "html", "markdown")}
    check_writable(*outputs.values())
    return outputs


def _deliver(record: "Record", outputs: dict[str, Path | None]) -> None:
    from .reports.table import print_record
    from .reports.write import write_record

    print_record(record, _console())
    for path in write_record(record, **outputs):
        click.echo(f"written: {path}")


def main() -> None:
    """Run the command line."""
    segship(prog_name="segship")


if __name__ == "__main__":
    importlib.import_module("segship.cli").main()
