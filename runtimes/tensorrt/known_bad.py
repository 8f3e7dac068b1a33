"""Defects of TensorRT releases that a SegFormer can meet, each with its report and what to do.

Reports of others; none was run again here. What no release is free of (FP16 and INT8 that must be
compared with FP32) is no entry: `segship build` and `segship evaluate` compare.
"""

from __future__ import annotations

from dataclasses import dataclass

from .portability import version_numbers

_ISSUE = "https://github.com/NVIDIA/TensorRT/issues"
_JETSON_11 = (
    "https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/"
    "tensorrt-10x-to-11x-jetson.html"
)


@dataclass(frozen=True)
class Defect:
    """A defect of the releases from `since` on and before `until`.

    `sm` names the compute capability it was seen on alone, `jetson` that it concerns Jetsons alone.
    """

    since: tuple[int, ...]
    until: tuple[int, ...]
    what: str
    advice: str
    link: str
    jetson: bool = False
    sm: str = ""

    def line(self) -> str:
        """Return one line: what is wrong, what to do, where it is reported."""
        return f"{self.what}: {self.advice} ({self.link})"


DEFECTS = (
    Defect(
        (8, 5),
        (8, 6),
        "the parser of 8.5 does not know LayerNormalization, and its pieces overflow in FP16",
        "segship build takes norms apart and holds the pieces in FP32; 8.6 has the operator",
        f"https://github.com/ItayElam/SegmentAnything-TensorRT/issues/2, {_ISSUE}/2564",
    ),
    Defect(
        (8, 6, 2),
        (8, 6, 3),
        "implicit INT8 calibration of SegFormer fails at attn/MatMul on an Orin Nano",
        "build from Q/DQ (segship quantize) and leave attention in float",
        f"{_ISSUE}/4072",
        jetson=True,
    ),
    Defect(
        (8, 6, 2),
        (8, 6, 3),
        "a parser that did not know LayerNormalization was reported of 8.6.2",
        "check that libnvonnxparser is of 8.6 too",
        f"{_ISSUE}/3657",
    ),
    Defect(
        (10, 3),
        (10, 4),
        "a segmentation ViT in FP16 gave almost one class everywhere, right on 8.6.1",
        "compare with the ONNX file on your images (segship evaluate) before shipping FP16",
        f"{_ISSUE}/4723",
    ),
    Defect(
        (10, 3),
        (10, 4),
        "transformers with free dimensions gave other results than on 10.5 and 10.8",
        "export fixed sizes (without --dynamic), or compare with the ONNX file",
        f"{_ISSUE}/4419",
    ),
    Defect(
        (10, 4),
        (10, 5),
        "a ViT in FP32 came out wrong, and NaN in FP16",
        "use another release, or compare with the ONNX file",
        f"{_ISSUE}/4742",
    ),
    Defect(
        (10, 13),
        (10, 14),
        "projections that share one LayerNorm came out wrong at batch 1 on Thor",
        'set __LUNOWUD="-peep:fc_h_fusion=off" during the build, or compare with the ONNX file',
        "https://github.com/NVIDIA/TensorRT-Edge-LLM/issues/105",
        jetson=True,
        sm="11.0",
    ),
    Defect(
        (10,),
        (10, 17),
        "fused attention of a ViT in FP16 and BF16 was silently wrong on SM 12.0, up to 10.16.1",
        "compare with the ONNX file on your images before shipping FP16",
        f"{_ISSUE}/4837",
        sm="12.0",
    ),
    Defect(
        (11,),
        (11, 4, 1),
        "NVIDIA supports no JetPack with 11.0 to 11.4.0",
        "stay on JetPack's own TensorRT 10, or take 11.4.1 with JetPack 7.2.2",
        _JETSON_11,
        jetson=True,
    ),
)


def known_bad(version: str, *, jetson: bool = False, sm: str = "") -> tuple[str, ...]:
    """Return the known defects of a release, one line each.

    Args:
        version: of TensorRT, e.g. "10.3.0.26".
        jetson: the GPU is a Jetson's.
        sm: its compute capability, "" where not known: defects of single ones are left out.

    >>> [line.split(":")[0] for line in known_bad("11.4.0", jetson=True)]
    ['NVIDIA supports no JetPack with 11.0 to 11.4.0']
    """
    numbers = version_numbers(version)
    return tuple(
        defect.line()
        for defect in DEFECTS
        if defect.since <= numbers < defect.until
        and (jetson or not defect.jetson)
        and defect.sm in ("", sm)
    )
