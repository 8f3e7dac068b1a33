"""A failed build in one line: what TensorRT said, of which node, of which part of SegFormer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ...common.errors import CheckFailedError, SegshipError
from ..quantize.parts import part_of
from .layer_norm import whole

_MEBI = 1 << 20
_MEMORY = re.compile(
    r"out of memory|outofmemory|insufficient memory|could not allocate|memory allocation", re.I
)
_BYTES = re.compile(r"(\d{4,})\s*(?:bytes|\))|size[: ]+(\d{4,})|of (\d{4,})", re.I)
_LONGEST = 300  # characters of TensorRT's own words


class BuildLog:
    """What TensorRT reported during a build, in order."""

    def __init__(self) -> None:
        """Start empty."""
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def logger(self, trt: Any) -> Any:
        """Return a TensorRT logger that writes here and prints nothing."""
        book = self
        severe = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)
        warning = trt.ILogger.Severity.WARNING

        class Logger(trt.ILogger):  # type: ignore[misc]  # the module is a parameter
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity in severe:
                    book.errors.append(msg)
                elif severity == warning:
                    book.warnings.append(msg)

        return Logger()


def parser_failure(parser: Any, names: Sequence[str]) -> CheckFailedError:
    """Return the error of a graph the parser refused.

    Args:
        parser: TensorRT's OnnxParser after `parse` returned False.
        names: the graph's node names in its own order.
    """
    found = [parser.get_error(index) for index in range(parser.num_errors)]
    if not found:
        return CheckFailedError("Expected a graph TensorRT parses, but its parser gave no reason.")
    first = found[0]
    index = int(first.node())
    told = getattr(first, "node_name", None)  # since TensorRT 10
    name = (told() if told else "") or (names[index] if 0 <= index < len(names) else "")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return CheckFailedError(
        f"Expected a graph TensorRT parses, but {_where(name)} failed: "
        f"{_short(str(first.desc()))}{more}."
    )


def build_failure(
    log: BuildLog, names: Iterable[str], *, workspace_mib: int | None, total_mib: float
) -> SegshipError:
    """Return the error of a build that gave no engine: its last report, node, part, memory.

    Args:
        log: what TensorRT reported.
        names: the graph's node names.
        workspace_mib: the limit given, None for TensorRT's own (all of the device).
        total_mib: the device's memory.
    """
    memory = next((text for text in reversed(log.errors) if _MEMORY.search(text)), None)
    name, said = _mentioned(log.errors, names)
    told = f" at {_where(name)}" if name else ""
    if memory is not None:
        asked = _asked_mib(memory)
        limit = f"{workspace_mib} MiB" if workspace_mib else "all of it"
        wanted = f" {asked:.0f} MiB were wanted;" if asked else ""
        return CheckFailedError(
            f"Expected memory for the build, but it ran out{told}:{wanted} the device has "
            f"{total_mib:.0f} MiB, of which --workspace allows {limit}: lower --workspace, "
            f"--batch or --sizes ({_short(memory)})."
        )
    return CheckFailedError(f"Expected an engine, but the build failed{told}: {_short(said)}.")


def _mentioned(errors: Sequence[str], names: Iterable[str]) -> tuple[str, str]:
    """Return the node the last report that names one names, and that report; "" and the last."""
    by_length = sorted(filter(None, names), key=len, reverse=True)
    for said in reversed(errors):
        for name in by_length:
            if name in said and re.search(rf"(?<![\w/.]){re.escape(name)}(?![\w/]|\.\w)", said):
                return name, said
    return "", errors[-1] if errors else "TensorRT gave no reason"


def _where(name: str) -> str:
    part = part_of(whole(name)) if name else None
    if not name:
        return "a node without a name"
    return f"{name} ({part})" if part else name


def _asked_mib(text: str) -> float | None:
    """Return the largest number of bytes a report names, in MiB."""
    sizes = [int(next(filter(None, match))) for match in _BYTES.findall(text)]
    return max(sizes) / _MEBI if sizes else None


def _short(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"
