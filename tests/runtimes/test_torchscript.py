"""TorchScript archives run where they are asked for by name, and never otherwise."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from segship.benchmark.candidate import parse_candidate
from segship.benchmark.evaluate import evaluate
from segship.cli import segship
from segship.common.errors import CheckFailedError, InputError
from segship.data.scenes import SCENE_CLASSES
from segship.runtimes.open import load_artifact, open_session
from segship.runtimes.torchscript_session import script_cost

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")
SIDECAR = f"size: 64x96\nclasses: [{', '.join(SCENE_CLASSES)}]\n"


class Net(nn.Module):
    """Two convolutions with 8·27 + 9·8 multiply-accumulates a pixel and 305 parameters."""

    def __init__(self, form: str = "tensor") -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 9, 1)
        self.form = form

    def forward(self, pixels: Tensor) -> Any:
        logits = self.last(torch.relu(self.first(pixels)))
        return {"tensor": logits, "dict": {"out": logits}, "tuple": (logits, logits)}[self.form]


def archive(folder: Path, form: str = "tensor", sidecar: str = SIDECAR) -> Path:
    path = folder / "net.pt"
    torch.manual_seed(0)
    traced = torch.jit.trace(Net(form).eval(), torch.zeros(1, 3, 8, 8), strict=False)  # type: ignore[no-untyped-call]  # torch's
    torch.jit.save(traced, str(path))
    if sidecar:
        (folder / "net.pt.segship.yaml").write_text(sidecar)
    return path


@pytest.mark.parametrize("form", ["tensor", "dict"])
def test_its_logits_are_those_of_the_network(form: str, tmp_path: Path) -> None:
    path = archive(tmp_path, form)
    pixels = np.random.default_rng(0).standard_normal((2, 3, 64, 96)).astype(np.float32)
    torch.manual_seed(0)
    want = Net().eval()(torch.from_numpy(pixels)).detach().numpy()
    with open_session(path, runtime="torchscript", threads=1) as session:
        found = session.run(pixels)["segmentation"]
        assert session.outputs[0].accepts(found.shape)
        assert "executed" in session.notes[0]
    np.testing.assert_allclose(found, want, atol=1e-6)  # traced and eager may fuse differently


def test_nothing_runs_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path)
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was executed"))
    assert load_artifact(path).kind == "torchscript"
    for runtime in ("auto", "torch", "onnxruntime"):
        with pytest.raises(InputError, match="TorchScript archive"):
            open_session(path, runtime=runtime)
    result = CliRunner().invoke(segship, ["evaluate", str(path), "--data", "scenes:1"])
    assert result.exit_code == 2
    assert f"{path}@torchscript if you trust" in result.output


def test_other_files_are_not_taken_for_archives(tmp_path: Path, tiny_onnx: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(Net().state_dict(), weights)
    (tmp_path / "text.pt").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "empty.pt", "w"):
        pass
    for path in (weights, tmp_path / "text.pt", tmp_path / "empty.pt", tiny_onnx):
        with pytest.raises(InputError, match="Expected a TorchScript archive for runtime"):
            open_session(path, runtime="torchscript")


@pytest.mark.parametrize("missing", ["size", "classes"])
def test_size_and_classes_must_be_stated(missing: str, tmp_path: Path) -> None:
    lines = [line for line in SIDECAR.splitlines() if not line.startswith(missing)]
    path = archive(tmp_path, sidecar="\n".join(lines))
    with pytest.raises(InputError, match=f"Expected {missing} of .*no TorchScript archive says"):
        load_artifact(path)


def test_what_it_returns_is_held_to_its_sidecar(tmp_path: Path) -> None:
    path = archive(tmp_path, sidecar="size: 64x96\nclasses: [a, b]\n")
    with pytest.raises(InputError, match=r"logits \(batch, 2, height, width\).*correct `classes`"):
        open_session(path, runtime="torchscript")
    with pytest.raises(InputError, match="one tensor per head"):
        open_session(archive(tmp_path, "tuple"), runtime="torchscript")
    archive(tmp_path, sidecar=SIDECAR + "input: uint8\n")
    with pytest.raises(CheckFailedError, match="fails on an input"):
        open_session(path, runtime="torchscript")


def test_a_broken_archive_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/code/__torch__.py", "nonsense")
    (tmp_path / "net.pt.segship.yaml").write_text(SIDECAR)
    with pytest.raises(InputError, match="that torch .* reads") as caught:
        open_session(path, runtime="torchscript")
    assert "\n" not in str(caught.value)


def test_cost_and_record(tmp_path: Path) -> None:
    path = archive(tmp_path)
    parameters, gmacs = script_cost(str(path), (4, 3, 64, 96))
    assert parameters == 8 * 27 + 8 + 9 * 8 + 9
    assert gmacs == pytest.approx((8 * 27 + 9 * 8) * 64 * 96 / 1e9)
    source = parse_candidate(f"{path}@torchscript")
    (item,) = evaluate([source], "scenes:1", examples=0, progress=False).measurements
    assert (item.kind, item.parameters, item.gmacs) == ("torchscript", parameters, gmacs)
    assert any("RGB, scale 0.00392157" in text for text in item.warnings)


def test_a_real_unet_is_the_same_in_both_forms(repository: Path, tmp_path: Path) -> None:
    library = repository / ".venv" / "smp"
    if not (library / "segmentation_models_pytorch").is_dir():
        pytest.skip("needs segmentation_models_pytorch in .venv/smp: make smp")
    module = "segship.tests.runtimes.smp_unet"
    command = [sys.executable, "-m", module, str(library), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for name in ("unet.pt", "unet.onnx"):
        (tmp_path / f"{name}.segship.yaml").write_text(SIDECAR)
    witness = np.load(tmp_path / "witness.npz")
    with open_session(tmp_path / "unet.pt", runtime="torchscript", threads=1) as session:
        found = session.run(witness["pixels"])["segmentation"]
    np.testing.assert_allclose(found, witness["output"], atol=1e-5)  # fused batch norms
    table = tmp_path / "t.csv"
    command = ["evaluate", f"{tmp_path}/unet.onnx@onnxruntime", f"{tmp_path}/unet.pt@torchscript"]
    result = CliRunner().invoke(segship, [*command, "--data", "scenes:2", "--table", str(table)])
    assert result.exit_code == 0, result.output
    lines = [line.split(",") for line in table.read_text().splitlines()]
    assert lines[0] == ["model", "runtime", "mIoU %", "parameters", "GMACs"]
    assert float(lines[1][2]) == pytest.approx(float(lines[2][2]), abs=0.05)  # points
    assert int(lines[2][3]) == int(witness["parameters"])
    assert float(lines[1][4]) == pytest.approx(float(lines[2][4]), rel=0.02)  # other ops counted
