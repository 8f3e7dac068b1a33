"""What TensorRT says while an engine is opened and run, kept instead of printed."""

from __future__ import annotations

from typing import Any

_LONGEST = 300  # characters of TensorRT's own words


class ErrorLog:
    """The errors TensorRT reported, in order."""

    def __init__(self) -> None:
        """Start empty."""
        self.errors: list[str] = []

    def logger(self, trt: Any) -> Any:
        """Return a TensorRT logger that writes here; warnings and below are dropped."""
        errors = self.errors
        severe = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

        class Logger(trt.ILogger):  # type: ignore[misc]  # the module is a parameter
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity in severe:
                    errors.append(msg)

        return Logger()

    def last(self) -> str:
        """Return the last error in one line, or that there was none."""
        if not self.errors:
            return "it gives no reason"
        return " ".join(self.errors[-1].split())[:_LONGEST]
