"""The rewritten network and its ONNX file against the class the checkpoint comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from segship.data.contract import OutputKind
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.optimize.exact import exact_rewrites
from segship.optimize.export import export
from segship.runtimes.open import open_session
from segship.tests.models.foreign.tiny import DEPTHS, one_thread, pixels, relative
from segship.tests.models.foreign.zoo import EVEN, ZOO, Foreign, outputs_of, saved

TOLERANCE = 1e-5  # of the largest reference value: float32 sums in another order
EXPORTED = ("mmseg", "smp", "segformer3d", "zuppichini", "zuppichini-bias")
BLOCKS = sum(DEPTHS)


@pytest.fixture(autouse=True)
def single_threaded() -> Iterator[None]:
    """These networks are too small for two threads."""
    with one_thread():
        yield


def _pair(name: str, quiet: bool, folder: Path) -> tuple[Foreign, Checkpoint, dict[str, Tensor]]:
    """Return a foreign network, its checkpoint as read, and its outputs for two images."""
    foreign = ZOO[name]
    net = foreign.net(quiet)
    checkpoint = load_checkpoint(saved(net.state_dict(), folder))
    return foreign, checkpoint, outputs_of(foreign, net, pixels(2, *foreign.size_px))


def _worst(got: dict[str, Tensor], want: dict[str, Tensor], corners: bool) -> float:
    """Largest relative difference over the heads, enlarged as the contract says if need be."""
    assert set(got) == set(want)
    errors = []
    for name, reference in want.items():
        ours, size = got[name], reference.shape[2:]
        if ours.shape[2:] != size:
            ours = functional.interpolate(ours, size, mode="bilinear", align_corners=corners)
        errors.append(relative(ours, reference))
    return max(errors)


@pytest.mark.parametrize("quiet", [False, True], ids=["trained", "quiet"])
@pytest.mark.parametrize("name", ZOO)
def test_the_rewritten_network_computes_what_the_class_computes(
    name: str, quiet: bool, tmp_path: Path
) -> None:
    foreign, checkpoint, want = _pair(name, quiet, tmp_path)
    pipeline = exact_rewrites()
    rewritten = pipeline.run(checkpoint.model).model
    changed = {note.name: note.changed for note in pipeline.record}
    assert len(changed) == 4 and min(changed.values()) > 0, changed
    assert BLOCKS in changed.values() and len(foreign.heads) in changed.values()
    with torch.inference_mode():
        got = rewritten(pixels(2, *foreign.size_px))
    assert _worst(got, want, checkpoint.contract.align_corners) <= TOLERANCE


@pytest.mark.parametrize("name", EXPORTED)
def test_the_exported_file_computes_what_the_class_computes(name: str, tmp_path: Path) -> None:
    foreign, checkpoint, want = _pair(name, False, tmp_path)
    corners = checkpoint.contract.align_corners
    report = export(checkpoint, tmp_path / "m.onnx", size_px=EVEN, dynamic=True)
    assert report.parity.passed
    assert [head.head for head in report.parity.heads] == list(foreign.heads)
    with open_session(tmp_path / "m.onnx", runtime="onnxruntime", precision="fp32") as session:
        arrays = session.run(pixels(2, *foreign.size_px).numpy())
        got = {head: torch.from_numpy(array.copy()) for head, array in arrays.items()}
    assert _worst(got, want, corners) <= TOLERANCE


@pytest.mark.parametrize("name", ["smp", "segformer3d"])
def test_the_exported_full_size_output_is_that_of_the_class(name: str, tmp_path: Path) -> None:
    """Classes that return full-size logits: the graph does the enlarging, corners as theirs."""
    foreign, checkpoint, want = _pair(name, False, tmp_path)
    report = export(
        checkpoint,
        tmp_path / "m.onnx",
        size_px=foreign.size_px,
        batch=2,
        output_kind=OutputKind.LOGITS_FULL,
    )
    assert report.parity.passed
    with open_session(tmp_path / "m.onnx", runtime="onnxruntime", precision="fp32") as session:
        arrays = session.run(pixels(2, *foreign.size_px).numpy())
        for head, reference in want.items():
            assert relative(torch.from_numpy(arrays[head]), reference) <= TOLERANCE
