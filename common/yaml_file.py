"""A YAML file that a person wrote: read strictly, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import InputError
from .files import existing_path


def read_yaml(path: Path, what: str) -> Any:
    """Return the values of a YAML file; `what` names it in errors ("a policy").

    Raises:
        InputError: it is missing or no YAML, a value is none of its type, or a key stands twice
            in one mapping, where YAML would keep the last in silence.
    """
    import yaml

    file = existing_path(path, what)
    try:
        text = file.read_text(encoding="utf-8")
        _refuse_repeats(yaml.compose(text, Loader=yaml.SafeLoader), file, what)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise InputError(f"Expected {file} to be {what} in YAML, but: {error}.") from error
    except RecursionError as error:
        raise InputError(
            f"Expected {file} to be {what} in YAML, but it is nested too deep."
        ) from error


def _refuse_repeats(root: Any, file: Path, what: str) -> None:
    """Refuse a mapping node with one plain key twice; nodes shared by aliases are seen once."""
    import yaml

    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for index, key in enumerate(keys) if key in keys[:index]), None)
        if twice is not None:
            raise InputError(
                f"Expected each key of {what} once, but {twice!r} stands twice in {file}, line "
                f"{node.start_mark.line + 1} on: keep one."
            )
        left += [value for _, value in node.value]
