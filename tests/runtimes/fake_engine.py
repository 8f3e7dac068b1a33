"""A fake engine that computes: built by the fake TensorRT, run on the fake GPU's stream."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from segship.runtimes.artifact import Artifact
from segship.runtimes.onnx_artifact import read_onnx_artifact
from segship.runtimes.onnx_file import read_onnx_file
from segship.runtimes.session import TensorInfo
from segship.runtimes.tensorrt.session import TensorRtSession
from segship.runtimes.tensorrt.sidecar import EngineInfo, ShapeRange, write_sidecar
from segship.tests.runtimes.fake_cuda import FakeMachine
from segship.tests.runtimes.fake_tensorrt import fake_tensorrt

Ranges = tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]


class FakeGpu:
    """TensorRT of one version on a fake machine; its engines run only when the stream does."""

    def __init__(self, version: str = "10.3.0", **situation: Any) -> None:
        """Make the module, with `execute_async_v3` queued on the fake runtime's streams."""
        self.machine = FakeMachine()
        self.trt = fake_tensorrt(version, **situation)
        self.queued = 0
        context = self.trt.IExecutionContext
        at_once = context.execute_async_v3

        def execute_async_v3(of: Any, stream_handle: int) -> bool:
            if self.trt._situation.execute_fails:
                return bool(at_once(of, stream_handle))
            self.queued += 1
            self.machine.enqueue(stream_handle, lambda: at_once(of, stream_handle))
            return True

        context.execute_async_v3 = execute_async_v3

    def engine(
        self, onnx: Path, ranges: Ranges = (), *, flags: tuple[str, ...] = (), **changes: Any
    ) -> Artifact:
        """Build `onnx` into an engine with its sidecar; `changes` are fields that shall be lies."""
        artifact, file = read_onnx_artifact(onnx, None, None), read_onnx_file(onnx)
        plan = self._plan(onnx, file.inputs[0].name, ranges, flags)
        path = onnx.with_suffix(f".{self.trt.__version__}.engine")
        path.write_bytes(plan)
        (image,) = file.inputs
        static = tuple(side for side in image.shape if isinstance(side, int))
        info = EngineInfo(
            engine_sha256=hashlib.sha256(plan).hexdigest(),
            engine_bytes=len(plan),
            engine_head=plan[:4].hex(),
            contract=artifact.contract,
            lineage=artifact.lineage,
            tensorrt=self.trt.__version__,
            cuda_runtime="12.9",
            driver="12.8",
            gpu="NVIDIA Fake",
            sm="8.7",
            inputs=file.inputs,
            outputs=file.outputs,
            profiles=tuple(ShapeRange(*item) for item in ranges or ((static,) * 3,)),
            precision="fp32",
        )
        write_sidecar(path, replace(info, **changes))
        return replace(artifact, path=path, kind="engine")

    def open(self, artifact: Artifact, **options: Any) -> TensorRtSession:
        """Open an engine on this GPU."""
        cuda = self.machine.cuda()
        return TensorRtSession(artifact, "fp32", 1, trt=self.trt, cuda=cuda, **options)

    def _plan(self, onnx: Path, image: str, ranges: Ranges, flags: tuple[str, ...]) -> bytes:
        trt = self.trt
        builder = trt.Builder(trt.Logger())
        flag = trt.NetworkDefinitionCreationFlag
        old = trt.__version__.startswith("8.")
        network = builder.create_network(1 << int(flag.EXPLICIT_BATCH) if old else 0)
        if not trt.OnnxParser(network, trt.Logger()).parse(onnx.read_bytes()):
            raise ValueError(f"{onnx} is no ONNX file")
        config = builder.create_builder_config()
        for name in flags:
            config.set_flag(getattr(trt.BuilderFlag, name))
        for low, best, high in ranges:
            profile = builder.create_optimization_profile()
            profile.set_shape(image, low, best, high)
            config.add_optimization_profile(profile)
        return bytes(builder.build_serialized_network(network, config))


def other_dtype(outputs: tuple[TensorInfo, ...], dtype: str) -> tuple[TensorInfo, ...]:
    """Return the same tensors with another type."""
    return tuple(TensorInfo(item.name, dtype, item.shape) for item in outputs)
