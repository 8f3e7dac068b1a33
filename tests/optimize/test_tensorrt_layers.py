"""The engine inspector's JSON of every form, written after the documentation: no recordings.

Forms: TensorRT guide 8.6 and 10.16, "Engine Inspector"; "Migrating IEngineInspector Usage from
TensorRT 10.x to 11.x" (docs.nvidia.com/deeplearning/tensorrt/11.3.0/api/migration/).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from segship.common.errors import CheckFailedError
from segship.optimize.tensorrt.layers import LayerRow, io_names, read_layers
from segship.optimize.tensorrt.precision import GraphPrecision, NodeType
from segship.optimize.tensorrt.summary import (
    AS_ASKED,
    GONE,
    INSIDE,
    OTHER,
    UNTOLD,
    summarise,
)

B = "/encoder/stages.0/blocks.0"
Q, NORM, SOFTMAX = f"{B}/attn/q/MatMul", f"{B}/norm1/LayerNormalization", f"{B}/attn/Softmax"
FC1, DW, GELU = f"{B}/ffn/fc1/Conv", f"{B}/ffn/dwconv/Conv", f"{B}/ffn/Gelu"
ORDER = (NORM, Q, SOFTMAX, FC1, DW, GELU, "quantize_x")


def tensor(words: str) -> dict[str, Any]:
    return {"Name": "t", "Dimensions": [1, 32, 64, 64], "Format/Datatype": words}


def layer(name: str, kind: str, read: Any, made: Any, metadata: str = "") -> dict[str, Any]:
    found = {"Name": name, "LayerType": kind, "Inputs": [read], "Outputs": [made]}
    return found | ({"Metadata": metadata} if metadata else {})


def rows_of(*layers: Any, order: tuple[str, ...] = ORDER) -> tuple[LayerRow, ...]:
    return read_layers(json.dumps({"Layers": layers, "Bindings": ["pixels", "out"]}), order)


def metadata(*nodes: str) -> str:
    return "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes)


def test_the_words_of_85_and_86_tell_types_and_names_tell_nodes() -> None:
    words = "Thirty-two wide channel vectorized row major Int8 format"
    (row,) = rows_of(
        layer(f"{FC1} + {DW}", "CaskConvolution", tensor(words), tensor("Row major linear FP16"))
    )
    assert (row.precision, row.nodes, row.fused) == ("int8", (FC1, DW), 2)
    assert (row.part, row.parts) == ("stage 1 fc1", ("stage 1 fc1", "stage 1 dwconv"))
    assert not row.reformat


def test_wrapped_names_of_8_are_unwrapped() -> None:
    (row,) = rows_of(
        layer(f"PWN({GELU})", "PointWiseV2", tensor("Row major linear FP32"), tensor(""))
    )
    assert (row.nodes, row.precision, row.part) == ((GELU,), "fp32", "stage 1 gelu")


def test_a_foreign_node_stands_for_all_between_its_ends() -> None:
    name = f"{{ForeignNode[{NORM}...{SOFTMAX}]}}"
    (row,) = rows_of(layer(name, "Myelin", tensor("Row major linear FP16 format"), tensor("")))
    assert row.nodes == (NORM, Q, SOFTMAX)
    (row,) = rows_of(layer(name, "Myelin", tensor(""), tensor("")), order=())
    assert row.nodes == (NORM, SOFTMAX)


@pytest.mark.parametrize("separator", ["\x1f", "\x1e", ""])
def test_metadata_of_10_lists_the_nodes(separator: str) -> None:
    text = separator.join(f"[ONNX Layer: {node}]" for node in (Q, SOFTMAX))
    (row,) = rows_of(layer("_gemm_mha_v2_myl0_3", "kgen", tensor("Half"), tensor("Half"), text))
    assert (row.nodes, row.precision) == ((Q, SOFTMAX), "fp16")
    assert row.parts == ("stage 1 q", "stage 1 qk")


def test_the_form_of_11_has_the_type_apart() -> None:
    half = {"Name": "t", "Format": "Row major linear", "DataType": "Half"}
    float_ = {**half, "DataType": "Float"}
    text = json.dumps(
        {
            "Layers": [layer("ln", "kgen", float_, half, metadata(NORM))],
            "I/O Tensors": [
                {"Name": "pixels", "IOMode": "Input", "DataType": "Float"},
                {"Name": "segmentation", "IOMode": "Output", "DataType": "Float"},
            ],
        }
    )
    (row,) = read_layers(text, ORDER)
    assert (row.precision, row.part) == ("fp32", "stage 1 norms")
    assert io_names(text) == ("pixels", "segmentation")


def test_both_forms_name_inputs_and_outputs() -> None:
    assert io_names(json.dumps({"Layers": [], "Bindings": ["pixels", "out"]})) == ("pixels", "out")
    assert io_names(json.dumps({"Layers": []})) == ()


def test_a_reformat_computes_nothing() -> None:
    words = "Reformatting CopyNode for Input Tensor 0 to "
    row, other = rows_of(
        layer(words + FC1, "Reformat", tensor("FP16"), tensor("Int8")),
        layer(FC1, "CaskConvolution", tensor("Int8"), tensor("Half")),
    )
    assert row.reformat and row.nodes == () and row.part is None
    assert not other.reformat and other.nodes == (FC1,)
    (named,) = rows_of(layer(FC1, "Reformat", tensor("FP16"), tensor("Int8"), metadata(FC1)))
    assert named.reformat and named.nodes == ()  # the kind says it where the name does not


def test_free_shapes_tell_no_type() -> None:
    words = "N/A due to dynamic shapes"
    (row,) = rows_of(layer(FC1, "CaskConvolution", tensor(words), tensor(words)))
    assert row.precision == ""


def test_names_alone_are_rows_too() -> None:
    (row,) = rows_of(f"{FC1} + {DW}")
    assert (row.nodes, row.precision, row.kind) == ((FC1, DW), "", "")


@pytest.mark.parametrize("words", ["BF16", "BFloat16", "Row major linear BF16 format"])
def test_bf16_is_not_taken_for_float(words: str) -> None:
    (row,) = rows_of(layer(FC1, "gemm", tensor(words), tensor(words)))
    assert row.precision == "bf16"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": [{}]}', '{"Layers": 3}'])
def test_what_is_no_inspector_json_is_refused(text: str) -> None:
    with pytest.raises(CheckFailedError, match="engine inspector's JSON"):
        read_layers(text)


def asked(**kinds: str) -> GraphPrecision:
    names = {"norm": NORM, "q": Q, "softmax": SOFTMAX, "fc1": FC1, "dw": DW, "gelu": GELU}
    nodes = {names[key]: NodeType("Conv", kind, kind) for key, kind in kinds.items()}
    return GraphPrecision(nodes, ("quantize_x",))


def test_every_part_has_a_state() -> None:
    rows = rows_of(
        layer("a", "gemm", tensor("Half"), tensor("Half"), metadata(Q)),
        layer("b", "kgen", tensor("Half"), tensor("Half"), metadata(NORM, SOFTMAX)),
        layer("c", "conv", tensor("Half"), tensor("Half"), metadata(FC1)),
        layer("d", "conv", tensor("N/A due to dynamic shapes"), tensor(""), metadata(DW)),
    )
    found = summarise(rows, asked(q="fp16", norm="fp32", fc1="int8", dw="fp16", gelu="fp16"))
    states = {row.part.removeprefix("stage 1 "): row.state for row in found.parts}
    assert states == {"q": AS_ASKED, "norms": INSIDE, "fc1": OTHER, "dwconv": UNTOLD, "gelu": GONE}
    assert found.as_asked == 1
    (fc1,) = [row for row in found.parts if row.part == "stage 1 fc1"]
    assert (fc1.asked, fc1.got, fc1.layers, fc1.fused) == ("int8", "fp16", 1, False)
    (norms,) = [row for row in found.parts if row.part == "stage 1 norms"]
    assert norms.fused


def test_a_bias_in_float_does_not_excuse_a_product_that_lost_int8() -> None:
    bias = f"{B}/attn/q/Add"
    nodes = {Q: NodeType("MatMul", "int8", None), bias: NodeType("Add", "fp16", "fp16")}
    found = GraphPrecision(nodes, ("quantize_x",))
    for kind, state in (("Half", OTHER), ("Int8", AS_ASKED)):
        rows = rows_of(layer("a", "gemm", tensor(kind), tensor("Half"), metadata(Q, bias)))
        (row,) = summarise(rows, found).parts
        assert (row.asked, row.state) == ("fp16+int8", state)
    apart = rows_of(
        layer("a", "gemm", tensor("Int8"), tensor("Half"), metadata(Q)),
        layer("b", "kgen", tensor("Half"), tensor("Half"), metadata(bias)),
    )
    assert summarise(apart, found).parts[0].state == AS_ASKED


def test_a_quantizer_that_became_a_layer_is_counted() -> None:
    rows = rows_of(
        layer("q", "Scale", tensor("Half"), tensor("Int8"), metadata("quantize_x")),
        layer("c", "conv", tensor("Int8"), tensor("Half"), metadata("quantize_x", FC1)),
        layer("Reformatting CopyNode", "Reformat", tensor("Half"), tensor("Half")),
    )
    found = summarise(rows, asked(fc1="int8"))
    assert (found.unfused, found.reformats, found.layers) == (("q",), 1, 3)
    assert found.parts[0].state == AS_ASKED
