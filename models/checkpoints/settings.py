"""What a user states about a checkpoint or a foreign ONNX file: the sidecar and `--set`.

A file says nothing of its LayerNorm eps, its preprocessing or, often, its classes. The flavour
decides; `FILE.segship.yaml` beside it (in a folder: `segship.yaml`) and `--set KEY=VALUE` decide
otherwise, the command line last. Every command reads the sidecar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...common.errors import InputError
from ...common.files import write_text
from ...data.contract import Contract
from ..spec import ModelSpec
from .messages import one_line
from .setting_keys import KEYS, Target, parse_value

SIDECAR = "segship.yaml"


@dataclass(frozen=True)
class Settings:
    """Stated values by what they change; empty where nothing was stated.

    `flavour`, `prefix` and `preset` choose the reader, the model inside the file and the
    preprocessing; `spec` and `contract` hold fields of `ModelSpec` and `Contract`. `origin` says
    where the values came from, for the notes.
    """

    flavour: str | None = None
    prefix: str | None = None
    preset: str | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    contract: dict[str, Any] = field(default_factory=dict)
    origin: str = ""
    stated: dict[str, Any] = field(default_factory=dict)  # key → value as written, to save again

    @staticmethod
    def none() -> Settings:
        """Return settings that change nothing."""
        return Settings()

    def __bool__(self) -> bool:
        """Say whether anything was stated."""
        return bool(self.stated)

    def over(self, base: Settings) -> Settings:
        """Return `base` with these settings on top."""
        if not self or not base:
            return self or base
        return _settings({**base.stated, **self.stated}, f"{base.origin} and {self.origin}")

    def notes(self) -> tuple[str, ...]:
        """Return one sentence that names what was stated, and where."""
        return (f"set by {self.origin}: {', '.join(self.stated)}",) if self else ()


def parse_settings(pairs: Iterable[str]) -> Settings:
    """Read `--set` texts "KEY=VALUE".

    >>> parse_settings(["eps=1e-6", "mean=0.485,0.56,0.406"]).contract["mean"]
    (0.485, 0.56, 0.406)

    Raises:
        InputError: no such key, or a value it cannot have.
    """
    stated: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"Expected --set KEY=VALUE, but got {pair!r}: try eps=1e-6.")
        stated[key.strip()] = value.strip()
    return _settings(stated, "--set") if stated else Settings()


def sidecar_path(source: Path) -> Path:
    """Return where the sidecar of a file or folder lies.

    >>> sidecar_path(Path("a/best.pth")).as_posix()
    'a/best.pth.segship.yaml'
    """
    return source / SIDECAR if source.is_dir() else source.with_name(f"{source.name}.{SIDECAR}")


def read_sidecar(source: Path) -> Settings:
    """Return what the sidecar of `source` states; nothing where there is none.

    Raises:
        InputError: the sidecar is no YAML mapping, or holds an unknown key or value.
    """
    path = sidecar_path(source)
    if not path.is_file():
        return Settings()
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"Expected YAML in {path}, but {one_line(error)}: correct it.") from error
    if values is not None and not isinstance(values, dict):
        raise InputError(f"Expected KEY: VALUE lines in {path}, but got {type(values).__name__}.")
    return _settings({str(key): value for key, value in (values or {}).items()}, path.name)


def write_sidecar(source: Path, settings: Settings) -> Path:
    """Write `settings` as the sidecar of `source`, whole or not at all; return its path."""
    import yaml

    path = sidecar_path(source)
    text = yaml.safe_dump(settings.stated, sort_keys=False, allow_unicode=True)
    write_text(path, f"# What segship is told about {source.name}\n{text}")
    return path


def keep_settings(source: str, settings: Settings) -> Path:
    """Add `settings` to the sidecar of an existing file or folder; return the sidecar's path.

    Raises:
        InputError: nothing was stated, or `source` is a hub id, which has no place for a sidecar.
    """
    path = Path(source)
    if not settings:
        raise InputError("Expected something to keep, but no --set KEY=VALUE was given.")
    if not path.exists():
        raise InputError(
            f"Expected a file or folder to keep settings beside, but {source} is none here: "
            "download the checkpoint first."
        )
    return write_sidecar(path, settings.over(read_sidecar(path)))


def apply_to_spec(spec: ModelSpec, settings: Settings) -> ModelSpec:
    """Return `spec` with the stated eps, heads, strides and align_corners."""
    values = dict(settings.spec)
    eps = {name.removeprefix("eps."): values.pop(name) for name in [*values] if "eps." in name}
    if "eps" in values:
        every = values.pop("eps")
        eps = {**dict.fromkeys(("patch", "sr", "block", "stage"), every), **eps}
    if eps:
        values["eps"] = replace(spec.eps, **eps)
    if "branch_align_corners" in values:
        corners = values.pop("branch_align_corners")
        values["heads"] = tuple(replace(head, align_corners=corners) for head in spec.heads)
    if "align_corners" in settings.contract:
        values["output_align_corners"] = settings.contract["align_corners"]
    return replace(spec, **values)


def apply_to_contract(contract: Contract, settings: Settings) -> Contract:
    """Return `contract` with the stated fields.

    Raises:
        InputError: another number of classes than the model has, or values that do not fit.
    """
    values = dict(settings.contract)
    classes = values.get("classes")
    if classes is not None and contract.classes and len(classes) != len(contract.classes):
        raise InputError(
            f"Expected {len(contract.classes)} classes, one per output of the model, but "
            f"{settings.origin} names {len(classes)}: correct classes."
        )
    return replace(contract, **values)


def _settings(stated: Mapping[str, Any], origin: str) -> Settings:
    """Parse every value and sort it by what it changes."""
    parts: dict[Target, dict[str, Any]] = {target: {} for target in Target}
    for key, value in stated.items():
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(KEYS)}."
            raise InputError(f"Expected a key segship knows in {origin}, but got {key!r}: {hint}")
        target, name, _ = KEYS[key]
        parts[target][name] = parse_value(key, value, origin)
    choices = parts[Target.CHOICE]
    return Settings(
        flavour=choices.get("flavour"),
        prefix=choices.get("prefix"),
        preset=choices.get("preset"),
        spec=parts[Target.SPEC],
        contract=parts[Target.CONTRACT],
        origin=origin,
        stated=dict(stated),
    )
