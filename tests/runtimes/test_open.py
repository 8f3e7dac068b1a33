"""What opens as what, and each refusal in one line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segship.common.errors import InputError, MissingDependencyError
from segship.common.files import sha256_file
from segship.data.contract import Contract, OutputKind
from segship.runtimes import choose as choose_module
from segship.runtimes import open as open_module
from segship.runtimes.artifact import CONTRACT_KEY, LINEAGE_KEY, Artifact
from segship.runtimes.catalog import CATALOG
from segship.runtimes.choose import faster_runtime
from segship.runtimes.onnx_file import read_onnx_file
from segship.runtimes.open import (
    PRECISIONS,
    RUNTIMES,
    available_runtimes,
    load_artifact,
    open_session,
)
from segship.runtimes.session import Array, Session
from segship.runtimes.tensorrt import session as tensorrt_session
from segship.runtimes.tensorrt.sidecar import EngineInfo, ShapeRange, write_sidecar

Shape = Sequence[str | int | None]
KINDS = ("checkpoint", "onnx", "engine", "torchscript")


def _save(path: Path, dtype: int, shape: Shape, out: int, out_shape: Shape) -> Path:
    """A model of one Cast with the given input and output."""
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=out)]
    inputs = [helper.make_tensor_value_info("x", dtype, shape)]
    outputs = [helper.make_tensor_value_info("y", out, out_shape)]
    graph = helper.make_graph(nodes, "cast", inputs, outputs)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def _with_metadata(source: Path, target: Path, **changed: str) -> Path:
    model = onnx.load(source)
    values = {item.key: item.value for item in model.metadata_props}
    values.update({f"segship.{key}": value for key, value in changed.items()})
    del model.metadata_props[:]
    helper.set_model_props(model, values)
    onnx.save(model, target)
    return target


def test_an_onnx_file_says_what_it_is(static_onnx: Path, tiny_checkpoint: Path) -> None:
    artifact = load_artifact(static_onnx)
    origin = load_artifact(tiny_checkpoint)
    assert (artifact.kind, origin.kind) == ("onnx", "checkpoint")
    assert artifact.sha256 == sha256_file(static_onnx)
    assert artifact.contract.classes == origin.contract.classes
    assert artifact.lineage.source_sha256 == origin.sha256 != ""
    assert artifact.lineage.parameters == origin.lineage.parameters > 1000
    assert any(note.changed for note in artifact.lineage.passes)


def test_auto_is_the_measured_choice_and_is_measured_once(
    static_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[set[str]] = []

    def first_name(_: Artifact, sessions: Mapping[str, Session]) -> str:
        asked.append(set(sessions))
        return "onnxruntime"

    monkeypatch.setattr(choose_module, "faster_runtime", first_name)
    for _ in range(2):
        with open_session(static_onnx) as session:
            assert (session.runtime, session.precision) == ("onnxruntime", "fp32")
    assert asked == [{"onnxruntime", "openvino"}]
    with open_session(static_onnx, threads=1) as session:  # another question
        assert session.threads == 1
    assert len(asked) == 2


def test_the_choice_is_the_session_with_the_shortest_run(static_onnx: Path) -> None:
    artifact = load_artifact(static_onnx)
    with open_session(artifact, runtime="onnxruntime") as quick:
        with open_session(artifact, runtime="onnxruntime") as slow:
            honest = slow.run

            def late(pixels: Array) -> dict[str, Array]:
                time.sleep(0.05)
                return honest(pixels)

            slow.run = late  # type: ignore[method-assign]  # a slower twin
            assert faster_runtime(artifact, {"slow": slow, "quick": quick}) == "quick"


def test_auto_without_openvino_and_for_checkpoints(
    static_onnx: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_session(tiny_checkpoint) as session:
        assert session.runtime == "torch"
    installed = open_module.available_runtimes()
    versions = {item.name: item.version for item in installed if item.name != "openvino"}
    monkeypatch.setattr(open_module, "_version", versions.get)
    with open_session(static_onnx) as session:
        assert session.runtime == "onnxruntime"


def test_an_artifact_object_opens_like_its_path(static_onnx: Path) -> None:
    with open_session(load_artifact(static_onnx), runtime="onnxruntime", threads=1) as session:
        assert session.input.name == "pixels"


def test_a_foreign_model_takes_a_contract(tmp_path: Path) -> None:
    shape = [1, 3, 32, 48]
    path = _save(tmp_path / "f.onnx", TensorProto.UINT8, shape, TensorProto.FLOAT, shape)
    contract = Contract(classes=("a", "b", "c"), size_px=(32, 48), output=OutputKind.LOGITS_FULL)
    artifact = load_artifact(path, contract)
    assert artifact.contract == contract and artifact.lineage.flavour == "onnx"
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    for runtime in ("onnxruntime", "openvino"):
        with open_session(artifact, runtime=runtime, threads=1) as session:
            np.testing.assert_array_equal(
                session.run(pixels)["segmentation"], pixels.astype(np.float32)
            )


IMAGE = [1, 3, 8, 8]


@pytest.mark.parametrize(
    ("dtype", "shape", "out", "out_shape"),
    [
        (TensorProto.FLOAT, [1, 10], TensorProto.FLOAT, [1, 10]),
        (TensorProto.FLOAT, [1, 1, 8, 8], TensorProto.FLOAT, [1, 1, 8, 8]),
        (TensorProto.INT64, IMAGE, TensorProto.FLOAT, IMAGE),
        (TensorProto.FLOAT, IMAGE, TensorProto.BOOL, IMAGE),
    ],
    ids=["vector", "grey", "int64 in", "bool out"],
)
def test_a_model_that_is_no_segmentation_is_refused(
    tmp_path: Path, dtype: int, shape: Shape, out: int, out_shape: Shape
) -> None:
    path = _save(tmp_path / "m.onnx", dtype, shape, out, out_shape)
    with pytest.raises(InputError, match="Expected a segmentation model") as caught:
        load_artifact(path, Contract(classes=("a",)))
    assert str(shape) in str(caught.value) and "\n" not in str(caught.value)


def test_a_contract_that_does_not_fit_the_outputs_is_refused(static_onnx: Path) -> None:
    contract = load_artifact(static_onnx).contract
    for wrong in (
        replace(contract, output=OutputKind.LABELS),
        replace(contract, heads=("segmentation", "depth")),
    ):
        with pytest.raises(InputError, match="as the contract says"):
            load_artifact(static_onnx, wrong)


@pytest.mark.parametrize(
    ("key", "text"), [("contract", "{"), ("contract", '{"version": 99}'), ("lineage", "{}")]
)
def test_broken_metadata_is_one_line(
    static_onnx: Path, tmp_path: Path, key: str, text: str
) -> None:
    assert {CONTRACT_KEY, LINEAGE_KEY} == {"segship.contract", "segship.lineage"}
    path = _with_metadata(static_onnx, tmp_path / "m.onnx", **{key: text})
    with pytest.raises(InputError, match="Expected") as caught:
        load_artifact(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_the_runtime_cannot_run_is_one_line(
    runtime: str, static_onnx: Path, tmp_path: Path
) -> None:
    model = onnx.load(static_onnx)
    model.graph.node[3].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"cannot open .*m\.onnx") as caught:
        open_session(tmp_path / "m.onnx", runtime=runtime)
    assert "\n" not in str(caught.value)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "text.onnx").write_text("hello, this is no model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name in ("text.txt", "text.onnx", "empty.onnx", "folder", "missing.onnx", "mis/sing/x"):
        for opener in (load_artifact, open_session):
            with pytest.raises(InputError, match=name) as caught:
                opener(tmp_path / name)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtime": "torch"}, "Expected a checkpoint for runtime torch"),
        ({"runtime": "tensorflow"}, "Expected a runtime of auto, torch"),
        ({"precision": "fp8"}, "Expected a precision of auto, fp32, fp16, bf16"),
        ({"runtime": "onnxruntime", "precision": "bf16"}, "fp32 on .*onnxruntime.*openvino can"),
        ({"precision": "fp16"}, "but got fp16: onnxruntime-tensorrt can"),
        ({"precision": "int8"}, "but got int8: no runtime for this kind of file can"),
        ({"runtime": "torch-cuda-graph"}, "Expected a checkpoint for runtime torch-cuda-graph"),
        ({"runtime": "tensorrt"}, "run segship build .*static.onnx -o model.engine first"),
        ({"threads": 0}, "at least one thread"),
    ],
)
def test_requests_that_do_not_fit_are_refused(
    static_onnx: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        open_session(static_onnx, **options)  # type: ignore[arg-type]  # mixed on purpose


@pytest.mark.parametrize(
    "runtime", ["onnxruntime", "openvino", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"]
)
def test_a_checkpoint_is_not_run_by_an_onnx_runtime(runtime: str, tiny_checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"run segship export .* first"):
        open_session(tiny_checkpoint, runtime=runtime)


@pytest.mark.parametrize(("runtime", "line"), [("openvino", "segship"), ("onnxruntime", "onnx")])
def test_a_missing_runtime_says_how_to_install_it(
    runtime: str, line: str, static_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(MissingDependencyError, match=f"pip install '?{line}"):
        open_session(static_onnx, runtime=runtime)


def test_the_runtimes_are_listed_with_versions() -> None:
    found = {item.name: item for item in available_runtimes()}
    assert set(found) == {"torch", "onnxruntime", "openvino"}
    import onnxruntime

    assert found["onnxruntime"].version == onnxruntime.__version__


def test_onnx_is_opened_without_importing_torch_or_onnx(static_onnx: Path) -> None:
    """Cold start and memory are measured in such a process."""
    code = (
        "import sys; from segship.runtimes.open import open_session;"
        "open_session(sys.argv[1], runtime='onnxruntime');"
        "from segship.runtimes.labels import labels_from_output;"
        "print([name for name in ('torch', 'onnx', 'openvino') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(static_onnx)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def _engine(folder: Path, onnx_path: Path, precision: str = "fp16") -> Path:
    """An engine nothing could run, with a sidecar that says what it is."""
    artifact, file = load_artifact(onnx_path), read_onnx_file(onnx_path)
    path = folder / "m.engine"
    path.write_bytes(b"plan")
    shape = (1, 3, 64, 96)
    info = EngineInfo(
        engine_sha256=sha256_file(path),
        engine_bytes=4,
        engine_head=b"plan".hex(),
        contract=artifact.contract,
        lineage=artifact.lineage,
        tensorrt="10.3.0",
        cuda_runtime="12.6",
        driver="560.35.03",
        gpu="NVIDIA Fake",
        sm="8.7",
        inputs=file.inputs,
        outputs=file.outputs,
        profiles=(ShapeRange(shape, shape, shape),),
        precision=precision,
    )
    write_sidecar(path, info)
    return path


class _OpenedEngine(Session):
    runtime = "tensorrt"

    def __init__(self, artifact: Artifact, precision: str, threads: int) -> None:
        self.artifact, self.precision, self.threads = artifact, precision, threads
        self.contract = artifact.contract

    def _run(self, pixels: Array) -> dict[str, Array]:
        return {"segmentation": pixels}


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session of an engine, without a GPU to open it on."""
    monkeypatch.setattr(tensorrt_session, "TensorRtSession", _OpenedEngine)


@pytest.mark.usefixtures("engines")
def test_an_engine_is_what_its_sidecar_says(static_onnx: Path, tmp_path: Path) -> None:
    path, origin = _engine(tmp_path, static_onnx), load_artifact(static_onnx)
    artifact = load_artifact(path)
    assert (artifact.kind, artifact.sha256) == ("engine", sha256_file(path))
    assert (artifact.contract, artifact.lineage) == (origin.contract, origin.lineage)
    for source in (path, artifact):
        with open_session(source) as session:  # "auto" can only be TensorRT
            assert (session.runtime, session.precision) == ("tensorrt", "fp16")
            assert session.notes == ()
    with open_session(path, precision="fp16", threads=1) as session:
        assert session.notes == (
            "Runtime tensorrt computes on the GPU: 1 threads change its work on the host only.",
        )


@pytest.mark.usefixtures("engines")
def test_an_engine_of_an_unnamed_mixture_is_mixed(static_onnx: Path, tmp_path: Path) -> None:
    with open_session(_engine(tmp_path, static_onnx, "int8+fp16")) as session:
        assert session.precision == "mixed"


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "fp32"}, "Expected fp16 for .*m.engine, as it was built, but got fp32"),
        ({"runtime": "onnxruntime"}, "Expected an ONNX file for .* is a TensorRT engine: use ten"),
        ({"runtime": "torch"}, "Expected a checkpoint for .* is a TensorRT engine"),
    ],
)
def test_what_an_engine_cannot_be_is_refused(
    options: dict[str, str], words: str, static_onnx: Path, tmp_path: Path
) -> None:
    path = _engine(tmp_path, static_onnx)
    with pytest.raises(InputError, match=words) as caught:
        open_session(path, **options)  # type: ignore[arg-type]  # strings only
    assert "\n" not in str(caught.value)


def test_an_engine_without_its_sidecar_is_refused(static_onnx: Path, tmp_path: Path) -> None:
    path = _engine(tmp_path, static_onnx)
    path.with_name("m.engine.json").unlink()
    for opener in (load_artifact, open_session):
        with pytest.raises(InputError, match="m.engine.json beside"):
            opener(path)
    with pytest.raises(InputError, match="Expected a TensorRT engine, but .* is none"):
        open_session(tmp_path / "other.engine")


def test_every_runtime_is_in_the_catalogue_once() -> None:
    assert len(set(RUNTIMES)) == len(RUNTIMES)
    for item in CATALOG:
        assert set(item.precisions) <= set(PRECISIONS) and item.kind in KINDS
        assert item.install and item.packages and item.module
    assert {item.name for item in CATALOG if not item.gpu} == {
        "torch",
        "torch-compile",
        "torchscript",
        "onnxruntime",
        "openvino",
    }


def test_one_of_several_packages_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "onnxruntime-gpu":
            return "1.22.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("segship.runtimes.catalog.metadata.version", version)
    found = {item.name: item.version for item in available_runtimes()}
    assert found == {"torch": None, "onnxruntime": "1.22.0", "openvino": None}
