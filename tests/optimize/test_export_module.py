"""Any torch network: built from a user's file, filled strictly, exported and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from segship.common.errors import CheckFailedError, InputError
from segship.data.contract import Contract, InputKind, OutputKind
from segship.models.checkpoints.settings import parse_settings
from segship.models.foreign_module import load_network
from segship.optimize import export as export_file
from segship.optimize import export_module as module_under_test
from segship.optimize.export_module import export_module
from segship.runtimes.open import load_artifact, open_session

CODE = """
import torch
from torch import nn
from torch.nn import functional
from shape_beside import CLASSES

class Quarter(nn.Module):
    '''Logits at 1/4; `form` says what forward returns.'''

    def __init__(self, classes=CLASSES, form="tensor", stride=4):
        super().__init__()
        self.form = form
        self.stem = nn.Conv2d(3, 8, 7, stride, 3)
        self.norm = nn.BatchNorm2d(8)
        self.out = nn.Conv2d(8, classes, 1)
        self.depth = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        feature = self.norm(self.stem(x)).relu()
        logits, depth = self.out(feature), self.depth(feature)
        forms = {
            "tensor": lambda: logits, "tuple": lambda: (logits, depth), "list": lambda: [logits],
            "logits": lambda: {"aux": depth, "logits": logits}, "out": lambda: {"out": logits},
            "both": lambda: {"depth": depth, "out": logits}, "other": lambda: {"masks": logits},
            "labels": lambda: logits.argmax(1), "pooled": lambda: logits.mean((2, 3), keepdim=True),
            "flat": lambda: logits.mean((2, 3)), "text": lambda: "logits", "none": lambda: (None,),
            "full": lambda: functional.interpolate(
                logits, x.shape[2:], mode="bilinear", align_corners=False),
        }
        return forms[self.form]()

class Fixed(Quarter):
    '''Works at one size only.'''

    def forward(self, x):
        return self.out(self.stem(x).reshape(1, 8, 16, 24))

class Baked(Quarter):
    '''Its trace keeps the size of the example image.'''

    def forward(self, x):
        grid = torch.linspace(0, 1, int(x.shape[3])).reshape(1, 1, 1, -1)
        return super().forward(x + grid)

class Broken(nn.Module):
    def __init__(self):
        raise ValueError("needs a friend")

def factory(**options):
    return Quarter(**options)

def no_module():
    return 3

CONSTANT = 5
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A user's file with networks, and what it imports beside it."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "shape_beside.py").write_text("CLASSES = 5\n")
    path = folder / "net.py"
    path.write_text(CODE)
    return path


class Twin(nn.Module):
    """The tensors of `Quarter`, made without its file."""

    def __init__(self, classes: int = 5) -> None:
        """Build it with random, perturbed numbers."""
        super().__init__()
        torch.manual_seed(4)
        self.stem, self.norm = nn.Conv2d(3, 8, 7, 4, 3), nn.BatchNorm2d(8)
        self.out, self.depth = nn.Conv2d(8, classes, 1), nn.Conv2d(8, 1, 1)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)  # type: ignore[arg-type]  # a tensor here

    def logits(self, x: Tensor) -> Tensor:
        """What `Quarter` computes."""
        self.eval()
        with torch.inference_mode():
            out: Tensor = self.out(self.norm(self.stem(x)).relu())
        return out


def saved(folder: Path, classes: int = 5, prefix: str = "", **changes: Tensor) -> Path:
    """Weights of `Quarter` in a file."""
    state = {f"{prefix}{key}": value for key, value in Twin(classes).state_dict().items()}
    torch.save({**state, **changes}, folder / "weights.pth")
    return folder / "weights.pth"


SIZE = (64, 96)


@pytest.mark.parametrize("form", ["tensor", "tuple", "list", "logits", "out"])
def test_every_form_of_output_is_found(code: Path, tmp_path: Path, form: str) -> None:
    report = export_module(
        saved(tmp_path), f"{code}:Quarter", tmp_path / "m.onnx",
        arguments=f'{{"form": "{form}"}}', size_px=SIZE,
    )  # fmt: skip  # one call
    assert report.parity.passed and report.passes == ()
    contract = report.artifact.contract
    assert contract.output is OutputKind.LOGITS and len(contract.classes) == 5
    pixels = np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)
    with open_session(tmp_path / "m.onnx", runtime="onnxruntime") as session:
        got = session.run(pixels)["segmentation"]
    want = Twin().logits(torch.from_numpy(pixels)).numpy()
    # float32 in another order of operations
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_logits_at_full_size_stay_so(code: Path, tmp_path: Path) -> None:
    report = export_module(
        saved(tmp_path), f"{code}:Quarter", tmp_path / "m.onnx",
        arguments='{"form": "full"}', size_px=SIZE, input_kind=InputKind.UINT8,
    )  # fmt: skip  # one call
    assert report.parity.passed and report.artifact.contract.output is OutputKind.LOGITS_FULL
    assert report.operators["Resize"] == 1  # the network's own, none of ours on top
    with open_session(tmp_path / "m.onnx", runtime="onnxruntime") as session:
        assert session.run(np.zeros((1, 3, *SIZE), np.uint8))["segmentation"].shape[2:] == SIZE


@pytest.mark.parametrize("output", list(OutputKind))
@pytest.mark.parametrize("stride", [2, 4])
def test_any_stride_and_output_kind_dynamic(
    code: Path, tmp_path: Path, output: OutputKind, stride: int
) -> None:
    report = export_module(
        saved(tmp_path), f"{code}:Quarter", tmp_path / "m.onnx",
        arguments=f'{{"stride": {stride}}}', size_px=SIZE, dynamic=True, output_kind=output,
    )  # fmt: skip  # one call
    assert report.parity.passed
    assert report.parity.shapes == ((1, 3, 64, 96), (2, 3, 128, 224))
    with open_session(tmp_path / "m.onnx", runtime="onnxruntime") as session:
        got = session.run(np.zeros((3, 3, 40, 72), np.float32))["segmentation"]
    small = (40 // stride, 72 // stride)
    assert got.shape[-2:] == (small if output is OutputKind.LOGITS else (40, 72))


@pytest.mark.parametrize("form", ["tuple", "both"])
def test_two_heads_by_order_or_name(code: Path, tmp_path: Path, form: str) -> None:
    contract = Contract(size_px=SIZE, heads=("segmentation", "depth"))
    report = export_module(
        saved(tmp_path), f"{code}:Quarter", tmp_path / "m.onnx",
        arguments=f'{{"form": "{form}"}}', contract=contract,
    )  # fmt: skip  # one call
    assert [head.head for head in report.parity.heads] == ["segmentation", "depth"]
    assert report.parity.passed and load_artifact(tmp_path / "m.onnx").contract.num_classes == 5


def test_one_class_gets_a_threshold(code: Path, tmp_path: Path) -> None:
    report = export_module(
        saved(tmp_path, 1), f"{code}:factory", tmp_path / "m.onnx",
        arguments='{"classes": 1}', size_px=SIZE, output_kind=OutputKind.LABELS,
    )  # fmt: skip  # one call
    assert report.artifact.contract.threshold == 0.5 and report.parity.passed


def test_what_was_assumed_is_said_and_what_was_stated_is_used(code: Path, tmp_path: Path) -> None:
    weights = saved(tmp_path)
    said = export_module(weights, f"{code}:Quarter", tmp_path / "a.onnx", size_px=SIZE)
    assert "mean 0.485 0.456 0.406" in said.artifact.lineage.assumptions[0]
    (tmp_path / "weights.pth.segship.yaml").write_text("classes: [a, b, c, d, e]\nmean: 0.5\n")
    settings = parse_settings(["std=0.5", "scale=1/255", "channel_order=bgr"])
    told = export_module(
        weights, f"{code}:Quarter", tmp_path / "b.onnx", size_px=SIZE, settings=settings
    )
    contract = told.artifact.contract
    assert contract.classes == ("a", "b", "c", "d", "e") and contract.mean == (0.5, 0.5, 0.5)
    assert told.artifact.lineage.assumptions == ()
    lineage = load_artifact(tmp_path / "a.onnx").lineage
    assert (lineage.flavour, lineage.variant) == ("module", "Quarter")
    assert lineage.assumptions == said.artifact.lineage.assumptions
    with pytest.raises(InputError, match="which --module builds"):
        settings = parse_settings(["eps=1e-6"])
        export_module(weights, f"{code}:Quarter", tmp_path / "c.onnx", settings=settings)


@pytest.mark.parametrize("prefix", ["module.", "model.", "model.module."])
def test_a_prefix_every_name_has_is_removed(code: Path, tmp_path: Path, prefix: str) -> None:
    network = load_network(saved(tmp_path, prefix=prefix), f"{code}:Quarter")
    want = Twin().state_dict()
    assert all(torch.equal(want[key], tensor) for key, tensor in network.state_dict().items())
    assert not network.training and not any(item.requires_grad for item in network.parameters())


def test_missing_counters_are_no_error(code: Path, tmp_path: Path) -> None:
    state = Twin().state_dict()
    del state["norm.num_batches_tracked"]
    torch.save(state, tmp_path / "weights.pth")
    load_network(tmp_path / "weights.pth", f"{code}:Quarter")


def _refused(code: Path, tmp_path: Path, weights: Path, name: str, arguments: str | None) -> str:
    with pytest.raises(InputError) as caught:
        export_module(
            weights, f"{code}:{name}", tmp_path / "m.onnx", arguments=arguments, size_px=SIZE
        )
    assert not (tmp_path / "m.onnx").exists() and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("other", "a dict of 'masks'"),
        ("labels", "int64 of shape (1, 16, 24)"),
        ("pooled", "(1, 5, 1, 1)"),
        ("flat", "(1, 5)"),
        ("text", "a str"),
        ("none", "a tuple of 'NoneType'"),
    ],
)
def test_what_is_no_segmentation_is_refused(
    code: Path, tmp_path: Path, form: str, said: str
) -> None:
    arguments = f'{{"form": "{form}"}}'
    assert said in _refused(code, tmp_path, saved(tmp_path), "Quarter", arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("Gone", None, "Expected a class Gone"),
        ("CONSTANT", None, "Expected a class CONSTANT"),
        ("Broken", None, "ValueError: needs a friend"),
        ("no_module", None, "torch.nn.Module, but got int"),
        ("Quarter", '{"colour": 3}', "TypeError"),
        ("Quarter", "{classes: 5}", "Expected --module-args as JSON"),
        ("Quarter", "[5]", "Expected a JSON object"),
        ("Quarter", '{"classes": 7}', "of shape (7, 8, 1, 1)"),
        ("Quarter:", None, "Expected --module FILE.py:CLASS"),
    ],
)
def test_a_wrong_class_or_argument_is_one_line(
    code: Path, tmp_path: Path, name: str, arguments: str | None, said: str
) -> None:
    assert said in _refused(code, tmp_path, saved(tmp_path), name, arguments)


def test_weights_are_strict(code: Path, tmp_path: Path) -> None:
    state = Twin().state_dict()
    bias = state.pop("out.bias")
    torch.save({**state, "aux.bias": bias}, tmp_path / "weights.pth")
    said = _refused(code, tmp_path, tmp_path / "weights.pth", "Quarter", None)
    assert "lacks 'out.bias'" in said and "also holds 'aux.bias'" in said
    damaged = saved(tmp_path, **{"out.bias": bias * float("nan")})
    assert "NaN" in _refused(code, tmp_path, damaged, "Quarter", None)
    missing = tmp_path / "gone.pth"
    assert "does not exist" in _refused(code, tmp_path, missing, "Quarter", None)


def test_a_file_that_fails_leaves_nothing_behind(code: Path, tmp_path: Path) -> None:
    import sys

    before = list(sys.path)
    code.write_text("raise SystemExit('stop')")
    assert "SystemExit: stop" in _refused(code, tmp_path, saved(tmp_path), "Quarter", None)
    assert sys.path == before and "segship_user_module" not in sys.modules


def test_the_wrong_number_of_classes_is_refused(code: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.segship.yaml").write_text("classes: [a, b]\n")
    assert "returns 5" in _refused(code, tmp_path, saved(tmp_path), "Quarter", None)


def test_a_network_of_one_size_says_so(code: Path, tmp_path: Path) -> None:
    weights = saved(tmp_path)
    report = export_module(weights, f"{code}:Fixed", tmp_path / "m.onnx", size_px=SIZE)
    assert report.parity.passed
    with pytest.raises(InputError, match="pass --size"):
        export_module(weights, f"{code}:Fixed", tmp_path / "n.onnx", size_px=(128, 128))
    assert not (tmp_path / "n.onnx").exists()


def test_a_dynamic_graph_that_kept_a_size_fails_the_check(code: Path, tmp_path: Path) -> None:
    """The verdict must be able to fail: the trace of this network holds the width as a number."""
    with pytest.raises(CheckFailedError, match="--dynamic"):
        export_module(
            saved(tmp_path), f"{code}:Baked", tmp_path / "m.onnx", size_px=SIZE, dynamic=True
        )
    assert "segship.contract" in {
        item.key for item in onnx.load(tmp_path / "m.onnx").metadata_props
    }


def test_a_difference_fails(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = export_file.trace

    def tampered(module: nn.Module, *rest: object) -> None:
        with torch.no_grad():
            weight = module.state_dict()["model.network.out.weight"]
            weight.mul_(1.01)
            honest(module, *rest)  # type: ignore[arg-type]  # handed through
            weight.div_(1.01)

    monkeypatch.setattr(module_under_test, "trace", tampered)
    with pytest.raises(CheckFailedError, match="DIFFERS from torch"):
        export_module(saved(tmp_path), f"{code}:Quarter", tmp_path / "m.onnx", size_px=SIZE)
