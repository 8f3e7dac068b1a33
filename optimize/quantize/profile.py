"""A target: what runs there, which precisions are worth it, and how it wants INT8."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from ...common.errors import InputError
from .plan import QuantForm

AUTO = "auto"
_FOLDER = Path(__file__).resolve().parents[2] / "profiles"
_KEYS = {"title", "runtime", "opset", "max_opset", "float", "pays", "int8", "facts"}
_FLOATS = ("fp32", "fp16")


@dataclass(frozen=True)
class Profile:
    """A named target; `pays` lists the precisions worth having there, the best first.

    `opset` is what a checkpoint is exported with unless the user says another, `max_opset` the
    last the target reads. `float_type` computes around INT8: "fp16" where the target takes types
    from the graph, "fp32" where it chooses them itself or has no FP16. `facts` say where all this
    comes from, a line each.
    """

    name: str
    title: str
    runtime: str
    opset: int
    max_opset: int
    float_type: str
    pays: tuple[str, ...]
    form: QuantForm
    facts: tuple[str, ...]

    def form_for(self, precision: str) -> QuantForm:
        """Return the form of "int8", or of "int8-all": every product, norm, softmax and sum."""
        if precision != "int8-all":
            return self.form
        return replace(self.form, attention=True, linear=True, depthwise=True, everything=True)


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles segship has."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def read_profile(name: str = AUTO) -> Profile:
    """Return the profile called `name`; "auto" is what this machine runs ONNX files with.

    Raises:
        InputError: no such profile.
    """
    if name == AUTO:
        name = "cpu-openvino" if _installed("openvino") else "cpu-onnxruntime"
    if name not in profile_names():
        raise InputError(
            f"Expected a profile of {AUTO}, {', '.join(profile_names())}, but got {name!r}."
        )
    import yaml

    values: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    if set(values) != _KEYS:
        raise InputError(f"Expected {sorted(_KEYS)} in profile {name}, but got {sorted(values)}.")
    if values["float"] not in _FLOATS:
        raise InputError(f"Expected a float of {_FLOATS} in profile {name}, got {values['float']}.")
    return Profile(
        name=name,
        title=values["title"],
        runtime=values["runtime"],
        opset=values["opset"],
        max_opset=values["max_opset"],
        float_type=values["float"],
        pays=tuple(values["pays"]),
        form=QuantForm.from_dict(values["int8"]),
        facts=tuple(values["facts"]),
    )


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
