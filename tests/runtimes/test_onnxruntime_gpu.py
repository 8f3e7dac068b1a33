"""ONNX Runtime's GPU providers. No GPU here: the CPU provider stands where one would be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from segship.common.errors import CheckFailedError, InputError, MissingDependencyError
from segship.runtimes import onnxruntime_gpu as module
from segship.runtimes import onnxruntime_providers as providers_module
from segship.runtimes.onnxruntime_gpu import OnnxRuntimeGpuSession
from segship.runtimes.onnxruntime_providers import provider_options, shape_range
from segship.runtimes.onnxruntime_session import new_session
from segship.runtimes.open import load_artifact, open_session
from segship.runtimes.placement import CPU, Placement, profile_prefix, read_placement
from segship.runtimes.session import TensorInfo

GPU_RUNTIMES = ("onnxruntime-cuda", "onnxruntime-tensorrt")
BUILT_IN = onnxruntime.get_available_providers()


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU provider and ordinary memory in the place of the GPU's."""
    for runtime in GPU_RUNTIMES:
        monkeypatch.setitem(module.PROVIDERS, runtime, (CPU,))
    monkeypatch.setattr(module, "DEVICE", "cpu")


@pytest.mark.parametrize(
    ("runtime", "provider"),
    [
        ("onnxruntime-cuda", "CUDAExecutionProvider"),
        ("onnxruntime-tensorrt", "TensorrtExecutionProvider"),
    ],
)
def test_a_build_without_the_provider_says_so(
    runtime: str, provider: str, static_onnx: Path
) -> None:
    if provider in BUILT_IN:
        pytest.skip("this ONNX Runtime has the provider")
    with pytest.raises(MissingDependencyError, match=f"{provider}.*onnxruntime-gpu") as caught:
        open_session(static_onnx, runtime=runtime)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", GPU_RUNTIMES)
def test_a_session_that_fell_back_is_refused(
    runtime: str, static_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime claims the provider, cannot load it, and opens on the CPU: a real fallback."""
    if module.PROVIDERS[runtime][0] in BUILT_IN:
        pytest.skip("this ONNX Runtime has the provider")
    claimed = [*module.PROVIDERS[runtime], *BUILT_IN]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)
    with pytest.raises(InputError, match="it fell back to .*CPUExecutionProvider") as caught:
        open_session(static_onnx, runtime=runtime)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("on_cpu")
def test_what_onnx_runtime_prints_stays_out_of_stdout(
    static_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report may be written there."""
    loads = lambda: print("Failed to load libcudnn")  # noqa: E731 # as the real one prints
    monkeypatch.setattr(onnxruntime, "preload_dlls", loads, raising=False)
    with open_session(static_onnx, runtime="onnxruntime-cuda"):
        said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Failed to load libcudnn\n")


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("runtime", GPU_RUNTIMES)
def test_bound_memory_gives_the_same_numbers(runtime: str, dynamic_onnx: Path) -> None:
    artifact = load_artifact(dynamic_onnx)
    with open_session(dynamic_onnx, runtime="onnxruntime", threads=1) as plain:
        with open_session(artifact, runtime=runtime, threads=1) as session:
            assert (session.runtime, session.precision) == (runtime, "fp32")
            assert session.device_times_ms() is None
            shapes = ((1, 3, 64, 96), (2, 3, 75, 133), (1, 3, 64, 96), (1, 3, 64, 96))
            for number, shape in enumerate(shapes, 1):  # another image each time
                pixels = _pixels(*shape) * np.float32(number)
                got = session.run(pixels)["segmentation"]
                np.testing.assert_array_equal(got, plain.run(pixels)["segmentation"])
            times = session.device_times_ms()
            assert times is not None and list(times) == ["h2d", "compute", "d2h"]
            assert all(value > 0 for value in times.values())
            (note,) = (item for item in session.notes if "threads" in item)
            assert (
                note == f"Runtime {runtime} computes on the GPU: 1 threads change its work on "
                "the host only."
            )


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize(
    ("said", "kind"),
    [("CUDA failure 2: out of memory", InputError), ("CUDA failure 700", CheckFailedError)],
)
def test_a_failure_before_the_run_is_one_line(
    said: str, kind: type[Exception], static_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError(f"{said}\n at cuda_call.cc")

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", fails)
    with open_session(static_onnx, runtime="onnxruntime-cuda", threads=1) as session:
        with pytest.raises(kind, match=said) as caught:
            session.run(_pixels(1, 3, 64, 96))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("on_cpu")
def test_tensorrt_refuses_what_it_would_build_anew_for(dynamic_onnx: Path) -> None:
    with open_session(dynamic_onnx, runtime="onnxruntime-tensorrt", threads=1) as session:
        session.run(_pixels(4, 3, 128, 192))
        for shape in ((5, 3, 64, 96), (1, 3, 32, 96), (1, 3, 64, 224)):
            with pytest.raises(InputError, match="between .* and .*export at that size"):
                session.run(_pixels(*shape))


def test_arithmetic_left_on_the_cpu_is_refused(
    static_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider came up, yet every node ran on the CPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["Some", CPU])
    monkeypatch.setitem(module.PROVIDERS, "onnxruntime-cuda", ("Some",))

    def opened(*arguments: Any, **options: Any) -> Any:
        graph = new_session(*arguments, **{**options, "providers": [CPU]})
        graph.get_providers = lambda: ["Some", CPU]
        return graph

    monkeypatch.setattr(module, "new_session", opened)
    with pytest.raises(InputError, match=r"left .*\d+ .*Conv.* on the CPU") as caught:
        open_session(static_onnx, runtime="onnxruntime-cuda")
    assert "Shape" not in str(caught.value)


def test_the_placement_counts_the_nodes_that_ran(dynamic_onnx: Path) -> None:
    with profile_prefix() as prefix:
        graph = new_session(str(dynamic_onnx), 1, label="x", profile=prefix)
        placed = read_placement(graph, {"pixels": _pixels(1, 3, 64, 96)})
        assert Path(prefix).parent.is_dir()
    assert not Path(prefix).parent.exists()
    assert set(placed.nodes) == {CPU} and placed.nodes[CPU]["MatMul"] > 1
    assert placed.arithmetic_on_cpu([CPU]) == () == placed.notes([CPU])
    assert any(item.endswith("MatMul") for item in placed.arithmetic_on_cpu(["CUDA"]))


def test_shape_arithmetic_on_the_cpu_is_only_noted() -> None:
    placed = Placement({"CUDA": Counter(Conv=7), CPU: Counter(Shape=2, Gather=1)})
    assert placed.arithmetic_on_cpu(["CUDA"]) == ()
    assert placed.notes(["CUDA"]) == (f"3 of 10 nodes run on {CPU}: 1 Gather, 2 Shape.",)


@pytest.mark.usefixtures("on_cpu")
def test_tf32_is_off_on_cuda_and_said_of_tensorrt(
    static_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = load_artifact(static_onnx)
    taken = TensorInfo("pixels", "float32", (1, 3, 64, 96))
    cuda, _ = provider_options(["CUDAExecutionProvider", CPU], artifact, "fp32", taken, None)
    assert (cuda["use_tf32"], cuda["cudnn_conv_algo_search"]) == ("0", "EXHAUSTIVE")
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with open_session(static_onnx, runtime="onnxruntime-tensorrt") as session:
        assert any("NVIDIA_TF32_OVERRIDE=0" in note for note in session.notes)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with open_session(static_onnx, runtime="onnxruntime-tensorrt") as session:
        assert not any("TF32" in note for note in session.notes)


def test_tensorrt_options_say_shapes_and_a_cache_of_their_own(
    dynamic_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = load_artifact(dynamic_onnx)
    taken = TensorInfo("pixels", "float32", ("batch", 3, "height", "width"))
    shapes = shape_range(taken, artifact.contract)
    version = "10.3.0"
    monkeypatch.setattr(providers_module, "_tensorrt_version", lambda: version)

    def told(precision: str, free: bool = True) -> dict[str, str]:
        wanted = shapes if free else None
        names = ["TensorrtExecutionProvider"]
        (options,) = provider_options(names, artifact, precision, taken, wanted)
        return options

    first = told("fp32")
    assert first["trt_fp16_enable"] == "0" and told("fp16")["trt_fp16_enable"] == "1"
    assert first["trt_profile_min_shapes"] == "pixels:1x3x64x64"
    assert first["trt_profile_opt_shapes"] == "pixels:1x3x64x96"
    assert first["trt_profile_max_shapes"] == "pixels:4x3x128x192"
    assert not any(name.startswith("trt_profile") for name in told("fp32", free=False))
    folders = {told(*item)["trt_engine_cache_path"] for item in (("fp32",), ("fp16",))}
    folders |= {told("fp32", free=False)["trt_engine_cache_path"]}
    version = "10.8.0"
    folders |= {told("fp32")["trt_engine_cache_path"]}
    assert len(folders) == 4 and all(Path(item).is_dir() for item in folders)
    assert told("fp32") == told("fp32")


@pytest.mark.parametrize(("version", "refused"), [("8.6.1", False), ("11.4.0.106", True)])
def test_fp16_by_a_flag_only_where_tensorrt_has_it(
    version: str, refused: bool, static_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers_module, "_tensorrt_version", lambda: version)
    artifact = load_artifact(static_onnx)
    taken = TensorInfo("pixels", "float32", (1, 3, 64, 96))
    names = ["TensorrtExecutionProvider"]
    if not refused:
        (options,) = provider_options(names, artifact, "fp16", taken, None)
        assert options["trt_fp16_enable"] == "1"
        return
    with pytest.raises(InputError, match="segship quantize"):
        provider_options(names, artifact, "fp16", taken, None)


def test_fixed_sides_have_no_range() -> None:
    from segship.data.contract import Contract

    contract = Contract(classes=("a",), size_px=(32, 512))
    shapes = shape_range(TensorInfo("x", "uint8", ("n", 3, 32, "w")), contract)
    assert (shapes.least, shapes.most) == ((1, 3, 32, 64), (4, 3, 32, 1024))


def test_the_cpu_runtime_is_not_asked_for_a_gpu(static_onnx: Path) -> None:
    with pytest.raises(KeyError):
        OnnxRuntimeGpuSession(load_artifact(static_onnx), "fp32", 1, runtime="onnxruntime")
