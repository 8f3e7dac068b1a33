"""The program: one group, and the verbs of `commands/` in it."""

import importlib

import click

# Absolute, because `python cli.py` runs this file as a script without a package.
from segship import __version__
from segship.commands.build import build
from segship.commands.compare import compare
from segship.commands.debug import debug_command
from segship.commands.doctor import doctor
from segship.commands.export import export
from segship.commands.gate import gate
from segship.commands.inspect import inspect
from segship.commands.measure import benchmark, evaluate
from segship.commands.predict import predict
from segship.commands.quantize import quantize
from segship.commands.report import report
from segship.commands.run import run
from segship.common.cli_exit import OneLineGroup

VERBS = (
    inspect,
    export,
    quantize,
    build,
    evaluate,
    benchmark,
    predict,
    debug_command,
    report,
    compare,
    gate,
    run,
    doctor,
)


@click.group(
    cls=OneLineGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="segship")
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
def segship(debug: bool) -> None:  # OneLineGroup reads it from the context
    """Ship a trained SegFormer: the fastest artifact that keeps its accuracy, with the proof.

    An ARTIFACT is an ONNX file or a TensorRT engine; a checkpoint (folder, file or hub id) serves
    everywhere an artifact does. SPEC names data as FORMAT:PATH[@SPLIT]; FORMAT is folder, yaml (a
    file that describes your own), ade20k, arrays, bdd100k, camvid, camvid-colour, cityscapes,
    cityscapes-8, cityscapes-course, depth, segformer3d or scenes (scenes:N, drawn here).

    Exit codes: 0 fine, 1 a check failed, 2 wrong input, 70 a defect of segship.

    Example: segship run examples/demo/recipe.yaml
    """


for verb in VERBS:
    segship.add_command(verb)


def main() -> None:
    """Run the command line."""
    segship(prog_name="segship")


if __name__ == "__main__":
    importlib.import_module("segship.cli").main()
