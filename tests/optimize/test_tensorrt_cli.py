"""The options of `segship build` reach the function behind it under its own names."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click
import pytest
from click.testing import CliRunner

from segship.common import cli_build
from segship.optimize.tensorrt import request
from segship.optimize.tensorrt.request import BuildRequest
from segship.runtimes.tensorrt import portability


def parsed(*arguments: str) -> dict[str, Any]:
    """Return what a command with the options is called with."""
    seen: dict[str, Any] = {}

    @click.command()
    @cli_build.build_options
    def command(**options: Any) -> None:
        seen.update(options)

    result = CliRunner().invoke(command, ["-o", "m.engine", *arguments])
    if result.exit_code:
        raise click.UsageError(result.output)
    return seen


def test_the_names_in_the_options_are_those_of_the_request() -> None:
    assert cli_build.PROFILES == request.PROFILES
    assert cli_build.HARDWARE == portability.HARDWARE
    assert set(parsed()) - {"out", "layers"} == {item.name for item in fields(BuildRequest)}


def test_without_options_the_request_is_its_default() -> None:
    options = parsed()
    del options["out"], options["layers"]
    assert BuildRequest(**{k: v for k, v in options.items() if v is not None}) == BuildRequest()


def test_lists_and_sizes_are_read() -> None:
    options = parsed("--batch", "1,4,8", "--sizes", "512x512,512x1024,1024", "--no-timing-cache")
    assert options["batches"] == (1, 4, 8)
    assert options["sizes_px"] == ((512, 512), (512, 1024), (1024, 1024))
    assert options["timing_cache"] is False


@pytest.mark.parametrize("wrong", [("--level", "6"), ("--hardware", "x"), ("--workspace", "0")])
def test_what_no_builder_takes_is_refused_by_the_command(wrong: tuple[str, str]) -> None:
    with pytest.raises(click.UsageError, match="Invalid value"):
        parsed(*wrong)
