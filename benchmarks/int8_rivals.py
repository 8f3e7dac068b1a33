"""INT8 by ONNX Runtime, NNCF and ModelOpt, and a session for the OpenVINO models NNCF writes.

NNCF and ModelOpt are no dependencies of segship: their makers raise ImportError where the package
is missing. Every maker takes a float ONNX file, the file to write and the calibration pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segship.data.contract import Contract
from segship.runtimes.onnx_file import read_onnx_file
from segship.runtimes.open import load_artifact
from segship.runtimes.session import Session, describe_heads

Images = list[NDArray[Any]]
Maker = Callable[[Path, Path, Images], None]
INPUT = "pixels"
DEPTHWISE = ".*dwconv.*"  # names of SegFormer's depthwise convolutions in our exports


def onnx_runtime(source: Path, target: Path, pixels: Images) -> None:
    """ONNX Runtime's static quantizer with its defaults, of every operator it knows."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self.left = iter(pixels)

        def get_next(self) -> dict[str, Any] | None:
            found = next(self.left, None)
            return None if found is None else {INPUT: found}

    quantize_static(str(source), str(target), Reader())
    _keep_metadata(source, target)


def nncf_onnx(model_type: str) -> Maker:
    """NNCF's post-training quantization of the ONNX graph."""

    def make(source: Path, target: Path, pixels: Images) -> None:
        import onnx

        onnx.save(_nncf(onnx.load(str(source)), pixels, model_type), str(target))
        _keep_metadata(source, target)

    return make


def nncf_openvino(model_type: str, left_out: str = "") -> Maker:
    """NNCF's post-training quantization of the model OpenVINO reads; operators `left_out` stay."""

    def make(source: Path, target: Path, pixels: Images) -> None:
        import openvino

        model = openvino.Core().read_model(str(source))
        made = _nncf(model, pixels, model_type, left_out)
        openvino.save_model(made, str(target), compress_to_fp16=False)

    return make


def _nncf(model: Any, pixels: Images, model_type: str, left_out: str = "") -> Any:
    import nncf  # type: ignore[import-not-found]  # no dependency of ours

    options: dict[str, Any] = {}
    if model_type:
        options["model_type"] = nncf.ModelType(model_type)
    if left_out:
        options["ignored_scope"] = nncf.IgnoredScope(patterns=[left_out])
    data = nncf.Dataset(pixels, lambda item: {INPUT: item})
    return nncf.quantize(model, data, subset_size=len(pixels), **options)


def modelopt(source: Path, target: Path, pixels: Images) -> None:
    """ModelOpt's INT8 with entropy, FP32 around it, in a process of its own.

    It patches ONNX Runtime's quantizer, which fails afterwards in the same process.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_modelopt, source, target, pixels).result()
    _keep_metadata(source, target)


def _modelopt(source: Path, target: Path, pixels: Images) -> None:
    from modelopt.onnx.quantization import (  # type: ignore[import-not-found]  # as above
        quantize as quantize_onnx,
    )

    quantize_onnx(
        str(source),
        quantize_mode="int8",
        calibration_method="entropy",
        calibration_data={INPUT: np.concatenate(pixels)},
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(target),
    )


def _keep_metadata(source: Path, target: Path) -> None:
    """Give the rival's file the contract, so that it is evaluated like the others."""
    import onnx

    model = onnx.load(str(target))
    before = onnx.load(str(source), load_external_data=False)
    onnx.helper.set_model_props(model, {item.key: item.value for item in before.metadata_props})
    onnx.save(model, str(target))
    load_artifact(target)


class OpenVinoModelSession(Session):
    """A model file as OpenVINO writes it, with the signature of the ONNX file it was made from.

    Unlike segship's own session it opens files whose INT8 OpenVINO computes wrongly: to show it.
    """

    runtime = "openvino"

    def __init__(
        self, path: Path, source: Path, contract: Contract, precision: str, *, simulate: bool
    ) -> None:
        """Compile `path`; with `simulate` its FakeQuantize operators run as float arithmetic.

        `precision` is OpenVINO's hint, "f32" or "bf16".
        """
        import openvino

        self.precision, self.threads, self.contract = precision, 0, contract
        file = read_onnx_file(source)
        (self.input,) = file.inputs
        self.outputs, self._names = describe_heads(file.outputs, contract.heads)
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision}
        if simulate:
            settings["LP_TRANSFORMS_MODE"] = "NO"
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
        self._request = compiled.create_infer_request()

    def _run(self, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        results = self._request.infer(pixels)
        heads = zip(self.contract.heads, self._names, strict=True)
        return {head: results[name] for head, name in heads}

    def close(self) -> None:
        """Free the request."""
        del self._request
