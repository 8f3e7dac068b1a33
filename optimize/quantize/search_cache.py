"""What a search has measured, kept in a file so that it can go on where it was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...calibration.ranges import Ranges
from ...common.errors import InputError
from ...common.files import write_text
from .float_graph import FloatGraph
from .plan import QuantForm

if TYPE_CHECKING:
    from ...benchmark.price import Sensitivity, Trial
    from .search_mixed import Target

_VERSION = 3  # changes with whatever changes a trial of the same parts


class SearchCache:
    """Trials and sensitivities by key in the JSON file `path`; None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there.

        Raises:
            InputError: the file is not one of a search.
        """
        self._path = path
        self._known: dict[str, Any] = {} if path is None or not path.exists() else _read(path)

    def trial(self, key: str, make: Callable[[], Trial]) -> Trial:
        """Return the trial kept under `key`, or make it now and keep it."""
        from ...benchmark.price import Trial
        from ...benchmark.record_reader import build

        found: Trial = self._found(f"trial {key}", make, lambda values: build(Trial, values))
        return found

    def sensitivity(self, key: str, make: Callable[[], Sensitivity]) -> Sensitivity:
        """Return the table kept under `key`, or make it now and keep it."""
        from ...benchmark.price import Sensitivity
        from ...benchmark.record_reader import build

        found: Sensitivity = self._found(
            f"parts {key}", make, lambda values: build(Sensitivity, values)
        )
        return found

    def _found(self, key: str, make: Callable[[], Any], read: Callable[[Any], Any]) -> Any:
        name = hashlib.sha256(key.encode()).hexdigest()
        if name not in self._known:
            found = make()
            self._known[name] = asdict(found)
            if self._path is not None:
                content = {"version": _VERSION, "measured": self._known}
                write_text(self._path, json.dumps(content, indent=1, allow_nan=False) + "\n")
            return found
        try:
            return read(self._known[name])
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(
                f"Expected the trials of a search, but {self._path} is damaged: remove it."
            ) from error


def key_of(floats: FloatGraph, ranges: Ranges, form: QuantForm, target: Target) -> str:
    """Return what every trial depends on: graph, ranges, form, target and this machine."""
    from ...benchmark.environment import read_environment

    here = read_environment()
    values = {
        "graph": hashlib.sha256(
            floats.model.graph.SerializeToString(deterministic=True)
        ).hexdigest(),
        "ranges": ranges.to_json(),
        "form": asdict(form),
        "target": asdict(target),
        "host": here.host_id,
        "libraries": here.libraries,
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] == _VERSION and isinstance(content["measured"], dict):
            return dict(content["measured"])
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"Expected the trials of a search, but {path} is another file: remove it.")
