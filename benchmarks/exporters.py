"""How long do torch's two exporters take on our SegFormer-B0, static and dynamic?

    python benchmarks/exporters.py

Prints the seconds behind docs/decisions/0002-exporter.md. Each export runs in this process,
one after the other, first the tracing exporter, then the torch.export based one.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import click


@click.command()
@click.option("--variant", default="B0", show_default=True)
def main(variant: str) -> None:
    """Time four exports."""
    import torch

    from segship.data.contract import Contract
    from segship.models.segformer import SegFormer
    from segship.models.spec import variant_spec
    from segship.optimize.wrapper import ExportModule, output_axes

    contract = Contract(classes=tuple("abc"))
    module = ExportModule(SegFormer(variant_spec(variant, 3)), contract).eval()
    axes = {"batch": torch.export.Dim("batch", min=1, max=64)}
    axes |= {n: torch.export.Dim(n, min=32, max=4096) for n in ("height", "width")}
    shapes = {"pixels": {0: axes["batch"], 2: axes["height"], 3: axes["width"]}}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dynamo in (False, True):
            for dynamic in (False, True):
                options = (
                    {"dynamic_shapes": shapes}
                    if dynamo
                    else {"dynamic_axes": output_axes(contract)}
                )
                started = time.perf_counter()
                torch.onnx.export(
                    module,
                    (torch.zeros(2, 3, 512, 544),),
                    str(Path(folder) / f"{dynamo}{dynamic}.onnx"),
                    input_names=["pixels"],
                    output_names=["segmentation"],
                    opset_version=18,
                    dynamo=dynamo,
                    verbose=False,
                    **(options if dynamic else {}),
                )
                name = "torch.export" if dynamo else "tracing"
                kind = "dynamic" if dynamic else "static"
                click.echo(f"{name:14s}{kind:9s}{time.perf_counter() - started:6.1f} s")


if __name__ == "__main__":
    main()
