"""`debug` names the part an error was planted in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import numpy_helper

from segship.benchmark.debug import DebugReport, debug
from segship.benchmark.debug_noise import BROKEN_DB, EXACT_DB
from segship.cli import segship
from segship.common.errors import InputError
from segship.optimize.export import export

Values = NDArray[np.float32]
PLANTED = {
    "stage 1 patch embed": "/encoder/stages.0/patch_embed/proj/Conv",
    "stage 2 fc1": "/encoder/stages.1/blocks.0/ffn/fc1/Conv",
    "stage 3 q": "/encoder/stages.2/blocks.0/attn/q/MatMul",
    "head branch 4": "/segmentation/stages.3/Conv",
    "classifier": "/segmentation/classifier/Conv",
}


def planted(source: Path, target: Path, node: str, change: Callable[[Values], Values]) -> Path:
    """Write a copy of an ONNX file whose `node` has a changed weight."""
    model = onnx.load(str(source))
    weight = next(item.input[1] for item in model.graph.node if item.name == node)
    tensor = next(item for item in model.graph.initializer if item.name == weight)
    values = change(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight))
    onnx.save(model, str(target))
    return target


def compared(a: Path, b: Path, **options: int) -> DebugReport:
    return debug(a, b, data="scenes:4", images=2, progress=False, **options)


@pytest.mark.parametrize("part", PLANTED)
def test_a_wrong_weight_is_found_in_its_part(tiny_onnx: Path, tmp_path: Path, part: str) -> None:
    def noisy(values: Values) -> Values:
        noise = np.random.default_rng(0).normal(0, values.std(), values.shape)
        return values + noise.astype(np.float32)

    report = compared(tiny_onnx, planted(tiny_onnx, tmp_path / "b.onnx", PLANTED[part], noisy))
    assert report.by_node
    assert report.first is not None
    assert report.worst is not None
    assert (report.first.part, report.worst.part) == (part, part)
    # only what reads the wrong weight makes noise of its own
    assert [row.part for row in report.parts if row.own_db < EXACT_DB] == [part]


def test_later_parts_carry_the_noise_but_are_not_blamed(tiny_onnx: Path, tmp_path: Path) -> None:
    b = planted(tiny_onnx, tmp_path / "b.onnx", PLANTED["stage 2 fc1"], lambda v: 2 * v)
    rows = {row.part: row for row in compared(tiny_onnx, b).parts}
    assert rows["stage 1 fc2"].snr_db == EXACT_DB
    assert rows["stage 2 fc2"].snr_db < 20  # dB: doubled values arrive there
    assert rows["stage 2 fc2"].own_db == EXACT_DB


def test_a_wrong_scale_of_known_size_gives_its_ratio(tiny_onnx: Path, tmp_path: Path) -> None:
    node = "/encoder/stages.0/blocks.0/attn/q/MatMul"
    b = planted(tiny_onnx, tmp_path / "b.onnx", node, lambda v: np.float32(1.1) * v)
    rows = {row.key: row for row in compared(tiny_onnx, b).parts}
    # the error is a tenth of the signal: 20·log10(10) = 20 dB, up to float32's rounding
    assert rows[node].own_db == pytest.approx(20, abs=1e-3)
    assert rows[node].snr_db == pytest.approx(20, abs=1e-3)


def test_an_infinite_weight_is_located(tiny_onnx: Path, tmp_path: Path) -> None:
    def broken(values: Values) -> Values:
        values[0, 0] = np.inf
        return values

    node = "/encoder/stages.2/blocks.0/ffn/fc2/Conv"
    report = compared(tiny_onnx, planted(tiny_onnx, tmp_path / "b.onnx", node, broken))
    assert report.not_finite is not None
    assert (report.not_finite.node, report.not_finite.part) == (node, "stage 3 fc2")
    assert report.not_finite.nan + report.not_finite.inf > 0
    assert report.first is not None
    assert (report.first.key, report.first.own_db) == (node, BROKEN_DB)


def test_equal_files_are_equal(tiny_onnx: Path) -> None:
    report = compared(tiny_onnx, tiny_onnx)
    assert report.first is None
    assert report.worst is None
    assert report.agreement == 1


def test_groups_of_values_change_nothing(tiny_onnx: Path, tmp_path: Path) -> None:
    b = planted(tiny_onnx, tmp_path / "b.onnx", PLANTED["stage 3 q"], lambda v: 2 * v)
    assert compared(tiny_onnx, b, memory_mib=1).parts == compared(tiny_onnx, b).parts


def test_plain_and_rewritten_graphs_are_matched_where_they_agree(
    tiny_checkpoint: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.onnx"
    export(tiny_checkpoint, plain, fold=False)
    report = compared(plain, tiny_onnx)
    assert not report.by_node
    assert report.first is None
    # float32 in another order: research/checkpoints.md measures 1e-6 of the signal, 120 dB
    assert min(row.own_db for row in report.parts) > 100
    b = planted(tiny_onnx, tmp_path / "b.onnx", PLANTED["stage 3 q"], lambda v: -3 * v)
    found = compared(plain, b)
    assert found.worst is not None
    assert found.worst.part == "stage 3 attn proj"  # the first value behind q both graphs have
    assert "stage 3 q" in found.worst.also


def test_a_checkpoint_is_compared_with_its_export(
    tiny_checkpoint: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    b = planted(tiny_onnx, tmp_path / "b.onnx", PLANTED["head branch 4"], lambda v: 2 * v)
    report = compared(tiny_checkpoint, b)
    assert report.by_node
    assert report.first is not None
    assert report.first.part == "head branch 4"


def test_a_dynamic_file_is_compared_at_the_size_of_the_other(
    tiny_checkpoint: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    free = tmp_path / "free.onnx"
    export(tiny_checkpoint, free, dynamic=True)
    report = compared(free, tiny_onnx)
    assert report.first is None
    other = tmp_path / "other.onnx"
    export(tiny_checkpoint, other, size_px=(96, 64))
    with pytest.raises(InputError, match="one input size"):
        compared(tiny_onnx, other)


def test_another_network_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_onnx))
    for index, node in enumerate(model.graph.node):
        node.name = f"node_{index}"
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(InputError, match="matched by name"):
        compared(tiny_onnx, tmp_path / "foreign.onnx")


def test_the_command_names_the_part(tiny_onnx: Path, tmp_path: Path) -> None:
    b = planted(tiny_onnx, tmp_path / "b.onnx", PLANTED["stage 2 fc1"], lambda v: 2 * v)
    arguments = ["debug", str(tiny_onnx), str(b), "--data", "scenes:4", "--images", "1"]
    result = CliRunner().invoke(segship, arguments)
    assert result.exit_code == 0, result.output
    assert "first: stage 2 fc1, at /encoder/stages.1/blocks.0/ffn/fc1/Conv" in result.output
    result = CliRunner().invoke(segship, [*arguments, "--json"])
    assert '"part": "stage 2 fc1"' in result.output
