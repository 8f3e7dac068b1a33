"""A recipe: the YAML file that names a checkpoint, its exports and what to measure.

checkpoint: my_checkpoint          # paths are relative to the recipe's folder
data: camvid:../camvid@val
output: ../runs/mine
exports:
  - {name: plain, fold: false}
  - {name: rewritten, size: 512x1024}
candidates:
  - {artifact: checkpoint}         # the checkpoint itself, in torch
  - {artifact: plain, runtime: onnxruntime, name: baseline}
  - {artifact: rewritten, runtime: openvino, precision: bf16, if_available: true}
baseline: baseline
limit: 100                         # images; all where absent
rounds: 20                         # interleaved rounds of timed runs
starts: 3                          # fresh processes for memory and cold start
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import InputError
from ..common.fields import Reader, choice, count, flag, read_fields, refuse_repeats, size, text
from ..common.files import existing_path
from ..data.contract import InputKind, OutputKind

CHECKPOINT = "checkpoint"  # the artifact name that stands for the source itself


@dataclass(frozen=True)
class ExportStep:
    """One ONNX file to make, `<name>.onnx` in the output folder."""

    name: str
    size_px: tuple[int, int] | None = None
    dynamic: bool = False
    output: OutputKind = OutputKind.LOGITS
    input: InputKind = InputKind.FLOAT32
    fold: bool = True
    opset: int = 17
    batch: int = 1


@dataclass(frozen=True)
class CandidateStep:
    """One thing to measure: an export (or the checkpoint) on a runtime.

    With `if_available` a runtime or precision this machine lacks skips the candidate;
    without it that is an error.
    """

    artifact: str
    runtime: str = "auto"
    precision: str = "auto"
    name: str = ""
    postprocess: str = "sparse"
    threads: int | None = None
    if_available: bool = False


@dataclass(frozen=True)
class Recipe:
    """A recipe file, read and checked; paths are resolved against its folder."""

    path: Path
    checkpoint: str
    data: str
    output: Path
    exports: tuple[ExportStep, ...]
    candidates: tuple[CandidateStep, ...]
    baseline: str | None = None
    limit: int | None = None
    rounds: int = 20
    starts: int = 3


_EXPORT: dict[str, Reader] = {
    "name": text,
    "size": size,
    "dynamic": flag,
    "output": choice(OutputKind),
    "input": choice(InputKind),
    "fold": flag,
    "opset": count,
    "batch": count,
}
_CANDIDATE: dict[str, Reader] = {
    "artifact": text,
    "runtime": text,
    "precision": text,
    "name": text,
    "postprocess": text,
    "threads": count,
    "if_available": flag,
}


def _exports(value: Any, where: str) -> tuple[ExportStep, ...]:
    steps = []
    for values in _rows(value, where, _EXPORT, required=("name",)):
        size_px = values.pop("size", None)
        steps.append(ExportStep(size_px=size_px, **values))
    return tuple(steps)


def _candidates(value: Any, where: str) -> tuple[CandidateStep, ...]:
    rows = _rows(value, where, _CANDIDATE, required=("artifact",))
    return tuple(CandidateStep(**values) for values in rows)


def _rows(
    value: Any, where: str, readers: dict[str, Reader], *, required: Sequence[str]
) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: expected a list with at least one entry, but got {value!r}.")
    return [
        read_fields(item, f"{where}[{index}]", readers, required=required)
        for index, item in enumerate(value)
    ]


_RECIPE: dict[str, Reader] = {
    "checkpoint": text,
    "data": text,
    "output": text,
    "exports": _exports,
    "candidates": _candidates,
    "baseline": text,
    "limit": count,
    "rounds": count,
    "starts": count,
}
_MEASURING = ("baseline", "limit", "rounds", "starts")
_REQUIRED = ("checkpoint", "data", "output", "exports", "candidates")


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe and refuse what no run could follow.

    Raises:
        InputError: the file is missing or no YAML, a key is unknown (the nearest known one is
            named), a value has the wrong type, or a candidate names no export.
    """
    file = existing_path(path, "a recipe")
    values = read_fields(_yaml(file), str(file), _RECIPE, required=_REQUIRED)
    recipe = Recipe(
        path=file,
        checkpoint=_beside(file, values["checkpoint"]),
        data=_data_beside(file, values["data"]),
        output=Path(os.path.normpath(file.parent / values["output"])),
        exports=values["exports"],
        candidates=values["candidates"],
        **{name: values[name] for name in _MEASURING if name in values},
    )
    _check(recipe)
    return recipe


def _yaml(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"Expected {file} to be a recipe in YAML, but: {error}.") from error


def _beside(file: Path, source: str) -> str:
    """Resolve a path against the recipe's folder; what is not there may be a hub id."""
    local = file.parent / source
    return str(local) if local.exists() or source.startswith(".") else source


def _data_beside(file: Path, spec: str) -> str:
    """Resolve the path inside `FORMAT:PATH[@SPLIT]`; `scenes:N` has none."""
    kind, colon, rest = spec.partition(":")
    if not colon or kind == "scenes" or Path(rest).is_absolute():
        return spec
    return f"{kind}:{file.parent / rest}"


def _check(recipe: Recipe) -> None:
    """Refuse names that clash or lead nowhere."""
    exports = [step.name for step in recipe.exports]
    names = [step.name for step in recipe.candidates if step.name]
    refuse_repeats(exports, f"{recipe.path}, exports")
    refuse_repeats(names, f"{recipe.path}, candidates")
    for name in exports:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or name == CHECKPOINT:
            raise InputError(
                f"{recipe.path}: expected an export name that can be a file name and is not "
                f"{CHECKPOINT!r}, but got {name!r}."
            )
    for step in recipe.candidates:
        if step.artifact not in (*exports, CHECKPOINT):
            raise InputError(
                f"{recipe.path}: expected a candidate's artifact to be one of "
                f"{', '.join((*exports, CHECKPOINT))}, but got {step.artifact!r}."
            )
    if recipe.baseline is not None and recipe.baseline not in names:
        raise InputError(
            f"{recipe.path}: expected baseline to be the `name` of a candidate "
            f"({', '.join(names) or 'none has one'}), but got {recipe.baseline!r}."
        )
