"""A deserialized engine and its execution context: what it takes, checked against the sidecar.

Only names that TensorRT 8.5 to 11.4 share are used. Not run on a GPU here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...common.errors import CheckFailedError, InputError
from ..cuda.library import MIB
from ..session import TensorInfo
from .log import ErrorLog
from .sidecar import EngineInfo

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}


class Engine:
    """An engine with one execution context; shapes and addresses are set, then `run` queues it."""

    def __init__(self, trt: Any, path: Path, info: EngineInfo) -> None:
        """Deserialize `path`, which `check_engine` has passed.

        Raises:
            CheckFailedError: TensorRT refuses the plan, or its memory is not there.
            InputError: its tensors are not those the sidecar names.
        """
        self._trt, self._path, self._info = trt, path, info
        self._log = ErrorLog()
        self._runtime = trt.Runtime(self._log.logger(trt))
        if info.version_compatible:
            self._runtime.engine_host_code_allowed = True  # such a plan carries its own runtime
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise self._failure("to open")
        self._refuse_other_tensors()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise CheckFailedError(
                f"Expected {self.scratch_bytes / MIB:.0f} MiB of GPU memory between the layers of "
                f"{path}, but TensorRT says: {self._log.last()}: end what else uses the GPU, or "
                "build the engine for a smaller batch and size."
            )

    @property
    def scratch_bytes(self) -> int:
        """Device memory of the context: what lies between the layers."""
        name = "device_memory_size_v2"  # since 10; TensorRT 11 has no other
        old = "device_memory_size"
        return int(getattr(self._engine, name if hasattr(self._engine, name) else old))

    def set_shape(self, image: TensorInfo, shape: tuple[int, ...], stream: int) -> None:
        """Make the context ready for an image of `shape`; `stream` must be idle.

        Raises:
            InputError: no optimization profile of the engine holds the shape.
        """
        profile = self._profile_for(image, shape)
        if self._context.active_optimization_profile != profile and not (
            self._context.set_optimization_profile_async(profile, stream)
        ):
            raise self._failure(f"to switch to profile {profile} of")
        if not self._context.set_input_shape(image.name, shape):
            raise InputError(
                f"Expected a shape {self._path} was built for, but TensorRT refuses {shape}: "
                f"{self._log.last()}."
            )

    def output_shape(self, output: TensorInfo) -> tuple[int, ...]:
        """Return an output's shape for the image shape set last.

        Raises:
            CheckFailedError: it is not known before the run, or not as the sidecar says.
        """
        shape = tuple(int(side) for side in self._context.get_tensor_shape(output.name))
        if min(shape, default=0) < 0 or not output.accepts(shape):
            raise CheckFailedError(
                f"Expected output {output.name!r} of shape {output.shape}, but {self._path} "
                f"returns {shape}: build it again."
            )
        return shape

    def bind(self, name: str, address: int) -> None:
        """Say where on the device a tensor lies."""
        if not self._context.set_tensor_address(name, address):
            raise self._failure(f"to take an address for {name!r} of")

    def run(self, stream: int) -> None:
        """Queue one run.

        Raises:
            CheckFailedError: TensorRT refuses it.
        """
        if not self._context.execute_async_v3(stream):
            raise self._failure("to run")

    def close(self) -> None:
        """Free the context, the engine and the runtime, in this order."""
        self._context = None
        self._engine = None
        self._runtime = None

    def _profile_for(self, image: TensorInfo, shape: tuple[int, ...]) -> int:
        profiles = self._info.profiles
        for index, profile in enumerate(profiles):
            if profile.accepts(shape):
                return index
        if not profiles:
            return 0
        ranges = " or ".join(f"{list(p.minimum)} to {list(p.maximum)}" for p in profiles)
        raise InputError(
            f"Expected input {image.name!r} within {ranges}, but got {list(shape)}: resize it, or "
            "build the engine with the --batch and --sizes it needs."
        )

    def _refuse_other_tensors(self) -> None:
        """Refuse an engine whose tensors differ from the sidecar's in name, type, shape or place.

        An engine that computes float32 into memory made for float16 gives numbers near ±512 and
        no error at all.
        """
        engine, modes = self._engine, self._trt.TensorIOMode
        found: dict[str, list[TensorInfo]] = {"input": [], "output": []}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            place = "input" if engine.get_tensor_mode(name) == modes.INPUT else "output"
            found[place].append(self._tensor(name))
        for place, said in (("input", self._info.inputs), ("output", self._info.outputs)):
            here = {item.name: item for item in found[place]}
            if set(here) != {item.name for item in said}:
                raise self._other(f"{place}s {_words(said)}", _words(tuple(here.values())))
            for item in said:
                got = here[item.name]
                if item.dtype != got.dtype or not _same_shape(item, got):
                    raise self._other(f"{place} {_words((item,))}", _words((got,)))

    def _tensor(self, name: str) -> TensorInfo:
        engine = self._engine
        kind = engine.get_tensor_dtype(name).name
        linear = engine.get_tensor_format(name) == self._trt.TensorFormat.LINEAR
        on_device = engine.get_tensor_location(name) == self._trt.TensorLocation.DEVICE
        if kind not in _DTYPES or not linear or not on_device:
            raise InputError(
                f"Expected plain arrays of numpy's types on the device, but {name!r} of "
                f"{self._path} is {kind}, {engine.get_tensor_format(name)}: build it with segship."
            )
        shape = tuple("?" if side < 0 else int(side) for side in engine.get_tensor_shape(name))
        return TensorInfo(name, _DTYPES[kind], shape)

    def _other(self, said: str, got: str) -> InputError:
        return InputError(
            f"Expected {said} as the sidecar of {self._path} says, but the engine has {got}: "
            "build it again."
        )

    def _failure(self, what: str) -> CheckFailedError:
        return CheckFailedError(
            f"Expected TensorRT {self._trt.__version__} {what} {self._path}, but {self._log.last()}"
            ": build it again, or see segship doctor."
        )


def _same_shape(said: TensorInfo, got: TensorInfo) -> bool:
    """Say whether fixed dimensions are equal and free ones are free in both."""
    return len(said.shape) == len(got.shape) and all(
        (isinstance(a, str) and isinstance(b, str)) or a == b
        for a, b in zip(said.shape, got.shape, strict=True)
    )


def _words(items: tuple[TensorInfo, ...]) -> str:
    return ", ".join(f"{i.name} {i.dtype}{list(i.shape)}" for i in items) or "nothing"
