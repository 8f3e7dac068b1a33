"""Bytes and MACs per part, against sums made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segship.benchmark.device_peaks import device_names, peaks_of_gpu, read_peaks
from segship.benchmark.onnx_cost import onnx_cost
from segship.benchmark.roofline import floors, part_costs
from segship.common.errors import InputError
from segship.optimize.export import export

PATCH, CLASSIFIER = "/encoder/stages.0/patch_embed/proj/Conv", "/segmentation/classifier/Conv"


def two_parts(*, int8: bool = False, half: bool = False) -> onnx.ModelProto:
    """Image 3×8×8 → 1×1 convolution to 16 channels → 1×1 classifier of 5 classes."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    dtype = np.float16 if half else np.float32
    weights = [
        numpy_helper.from_array(np.ones((16, 3, 1, 1), dtype), "w1"),
        numpy_helper.from_array(np.ones((5, 16, 1, 1), dtype), "w2"),
    ]
    nodes = [helper.make_node("Conv", ["x", "w1"], ["features"], name=PATCH)]
    read = "features"
    if int8:
        weights += [
            numpy_helper.from_array(np.array(0.1, np.float32), "step"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ]
        nodes += [
            helper.make_node("QuantizeLinear", ["features", "step", "zero"], ["q"], name="q"),
            helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["dq"], name="dq"),
            helper.make_node("QuantizeLinear", ["w2", "step", "zero"], ["wq"], name="wq"),
            helper.make_node("DequantizeLinear", ["wq", "step", "zero"], ["wdq"], name="wdq"),
        ]
        read = "dq"
    nodes.append(helper.make_node("Conv", [read, "wdq" if int8 else "w2"], ["y"], name=CLASSIFIER))
    graph = helper.make_graph(
        nodes,
        "two parts",
        [helper.make_tensor_value_info("x", kind, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", kind, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_bytes_and_macs_are_those_of_the_graph() -> None:
    patch, classifier = part_costs(two_parts(), (2, 3, 8, 8))
    assert patch.part == "stage 1 patch embed" and classifier.part == "classifier"
    assert patch.macs == {"fp32": 2 * 64 * 16 * 3} and classifier.macs == {"fp32": 2 * 64 * 5 * 16}
    assert patch.read_bytes == 4 * 2 * 3 * 64  # the image
    assert patch.weight_bytes == 4 * 16 * 3
    assert patch.write_bytes == classifier.read_bytes == 4 * 2 * 16 * 64
    assert classifier.write_bytes == 4 * 2 * 5 * 64
    assert classifier.moved_bytes == 4 * (2 * 16 * 64 + 16 * 5 + 2 * 5 * 64)


def test_half_moves_half_whether_typed_or_narrowed_by_the_builder() -> None:
    whole = part_costs(two_parts(), (1, 3, 8, 8))
    for found in (
        part_costs(two_parts(half=True), (1, 3, 8, 8)),
        part_costs(two_parts(), (1, 3, 8, 8), float_width=2),
    ):
        assert [2 * item.moved_bytes for item in found] == [item.moved_bytes for item in whole]
        assert [set(item.macs) for item in found] == [{"fp16"}, {"fp16"}]


def test_a_quantized_product_reads_one_byte_and_counts_as_int8() -> None:
    patch, classifier = part_costs(two_parts(int8=True), (1, 3, 8, 8))
    assert classifier.macs == {"int8": 64 * 5 * 16} and patch.macs == {"fp32": 64 * 16 * 3}
    assert classifier.read_bytes == patch.write_bytes == 16 * 64
    assert classifier.weight_bytes == 5 * 16


@pytest.mark.parametrize("fold", [False, True])
def test_a_segformer_has_all_its_macs_in_its_parts(
    fold: bool, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    contract = export(tiny_checkpoint, path, fold=fold).artifact.contract
    shape = (1, 3, *contract.size_px)
    costs = part_costs(onnx.load(path), shape)
    whole = onnx_cost(path, shape).gmacs
    assert sum(sum(item.macs.values()) for item in costs) / 1e9 == pytest.approx(whole, rel=1e-9)
    names = {item.part for item in costs}
    assert {"stage 1 attention", "stage 4 dwconv", "head fuse", "classifier"} <= names
    assert not any(word in name for name in names for word in ("residual", "gelu", " qk", " pv"))
    assert all(item.moved_bytes > 0 for item in costs)


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    peaks = read_peaks("t4")
    (patch, classifier) = floors(part_costs(two_parts(half=True), (1, 3, 8, 8)), peaks)
    assert peaks.bytes_per_s == 320e9 and peaks.flops("fp16") == pytest.approx(65.1e12)
    assert patch.compute_us == pytest.approx(1e6 * 2 * 64 * 16 * 3 / 65.1e12, rel=1e-12)  # float
    moved = 2 * (3 * 64 + 3 * 16 + 16 * 64)
    assert patch.memory_us == pytest.approx(1e6 * moved / 320e9, rel=1e-12)  # float
    assert patch.floor_us == max(patch.compute_us or 0.0, patch.memory_us)
    assert classifier.moved_mib == pytest.approx(2 * (16 * 64 + 80 + 5 * 64) / (1 << 20))


def test_an_unknown_peak_is_none_not_zero_time() -> None:
    (patch, _) = floors(part_costs(two_parts(), (1, 3, 8, 8)), read_peaks("t4"))
    assert read_peaks("t4").flops("fp32") is None
    assert patch.compute_us is None and patch.floor_us == patch.memory_us


def test_foreign_graphs_and_other_ranks_are_refused() -> None:
    with pytest.raises(InputError, match="exported by segship"):
        part_costs(two_parts(), (3, 8, 8))
    foreign = two_parts()
    for node in foreign.graph.node:
        node.name = "conv"
    with pytest.raises(InputError, match="exported by segship"):
        part_costs(foreign, (1, 3, 8, 8))


def test_every_device_is_found_by_the_name_its_driver_gives() -> None:
    drivers = {
        "NVIDIA H200": "h200",
        "Tesla T4": "t4",
        "NVIDIA A100-SXM4-80GB": "a100-80gb",
        "NVIDIA A100-SXM4-40GB": "a100-40gb",
        "NVIDIA A10": "a10",
        "NVIDIA L4": "l4",
        "NVIDIA H100 80GB HBM3": "h100",
        "NVIDIA GeForce RTX 4090": "rtx-4090",
    }
    assert set(drivers.values()) == set(device_names())
    for driver, name in drivers.items():
        found = peaks_of_gpu(driver)
        assert found is not None and found.name == name
        assert found.sources and (found.flops("int8") or 0) > (found.flops("fp16") or 0) > 0
    assert peaks_of_gpu("NVIDIA L40S") is None and peaks_of_gpu("NVIDIA A100X") is None
    with pytest.raises(InputError, match="h200"):
        read_peaks("h300")
