"""Where does ONNX Runtime's quantizer put Q/DQ on the graph and the ranges we quantize ourselves?

    python benchmarks/qdq_placement.py CHECKPOINT --data camvid:DIR@train

Both get the rewritten graph, our ranges, the nodes of our plan and TensorRT's form: symmetric, per
channel, no quantized biases or outputs. Prints a Markdown table of what can be counted in both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segship.calibration.calibration_set import open_calibration
from segship.calibration.collect import collect_ranges
from segship.calibration.ranges import Ranges
from segship.models.checkpoints import load_checkpoint
from segship.optimize.export import export
from segship.optimize.quantize.plan import QuantPlan, make_plan
from segship.optimize.quantize.profile import read_profile
from segship.optimize.quantize.qdq import insert_qdq

if TYPE_CHECKING:
    import onnx

LAYOUT = ("Reshape", "Transpose")
PAIR = ("QuantizeLinear", "DequantizeLinear")
PRODUCTS = ["Conv", "MatMul"]


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Calibration images.")
@click.option("--images", default=4, show_default=True, help="Placement does not depend on them.")
def main(checkpoint: str, data: str, images: int) -> None:
    """Quantize with both and print the table."""
    import onnx

    source = load_checkpoint(checkpoint)
    pixels = open_calibration(data, source.contract, images=images).pixels()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        export(source, path)
        ranges = collect_ranges(path, None, pixels, method="mse", progress=False)
        model = onnx.load(str(path))
    plan = make_plan(model, read_profile("tensorrt8").form)
    columns = {
        "ONNX Runtime": counts(onnx_runtimes(model, ranges, plan)),
        "ours": counts(insert_qdq(model, ranges, plan)),
    }
    click.echo(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name in columns["ours"]:
        values = " | ".join(str(found[name]) for found in columns.values())
        click.echo(f"| {name} | {values} |")


def onnx_runtimes(model: onnx.ModelProto, ranges: Ranges, plan: QuantPlan) -> onnx.ModelProto:
    """Quantize the nodes of our plan with `QDQQuantizer` on our ranges."""
    import numpy as np
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    known = {
        name: (np.float32(item.low), np.float32(item.high)) for name, item in ranges.tensors.items()
    }
    quantizer = QDQQuantizer(
        copied,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, known),
        nodes_to_quantize=list(plan.nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=PRODUCTS,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": PRODUCTS,
        },
    )
    quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    return made


def counts(model: onnx.ModelProto) -> dict[str, int]:
    """Return what the table says of one graph."""
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    pairs = [
        node
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    ]
    above = [makers.get(node.input[0]) for node in pairs]
    normed: dict[str, int] = {}
    for node in pairs:
        origin = makers.get(node.input[0])
        while origin is not None and origin.op_type in (*LAYOUT, *PAIR):
            origin = makers.get(origin.input[0])
        if origin is not None and origin.op_type == "LayerNormalization":
            normed[origin.output[0]] = normed.get(origin.output[0], 0) + 1
    biases = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in constants
        and constants[node.input[0]].data_type == 6  # TensorProto.INT32
    ]
    return {
        "Q/DQ pairs on activations": len(pairs),
        "of them behind a Reshape or Transpose": sum(
            node is not None and node.op_type in LAYOUT for node in above
        ),
        "LayerNorm outputs quantized once": sum(value == 1 for value in normed.values()),
        "LayerNorm outputs quantized more than once": sum(value > 1 for value in normed.values()),
        "int32 biases": len(biases),
    }


if __name__ == "__main__":
    main()
