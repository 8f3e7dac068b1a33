"""The timing cache on disk, a failed build in one line, and equivalent engines compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segship.common.errors import InputError
from segship.optimize.export import export
from segship.optimize.tensorrt.failure import BuildLog, build_failure, parser_failure
from segship.optimize.tensorrt.repeat import WARM_UP_RUNS, rebuild_variance
from segship.optimize.tensorrt.repeat_measure import compare_engines
from segship.optimize.tensorrt.timing_cache import CacheKey, load_cache, store_cache
from segship.runtimes.open import open_session

KEY = CacheKey("Orin (nvgpu)", "8.7", "10.3.0")
PV = "/encoder/stages.2/blocks.1/attn/MatMul_1"


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    path = KEY.path(tmp_path / "new" / "folder")
    assert path.name == "Orin-nvgpu-sm87-10.3.0.cache"
    assert load_cache(path, KEY) == (b"", "")
    assert store_cache(path, KEY, b"\x00times\n\xff") == ""
    assert load_cache(path, KEY) == (b"\x00times\n\xff", "")
    assert [item.name for item in path.parent.iterdir()] == [path.name]  # nothing temporary left


def test_it_lies_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert KEY.path().parent == tmp_path / "segship" / "tensorrt"


@pytest.mark.parametrize(
    "other",
    [
        CacheKey("Tesla T4", "8.7", "10.3.0"),
        CacheKey("Orin (nvgpu)", "8.6", "10.3.0"),
        CacheKey("Orin (nvgpu)", "8.7", "10.3.1"),
    ],
)
def test_times_of_another_device_or_version_are_left_alone(tmp_path: Path, other: CacheKey) -> None:
    path = KEY.path(tmp_path)
    store_cache(path, other, b"times")
    body, note = load_cache(path, KEY)
    assert body == b""
    assert f"it was made on {other.gpu} {other.sm} {other.tensorrt}" in note


@pytest.mark.parametrize("damage", [b"", b"junk", b"[]\nbody", b'{"format": "x"}\nbody'])
def test_a_foreign_file_is_no_cache(tmp_path: Path, damage: bytes) -> None:
    path = KEY.path(tmp_path)
    path.write_bytes(damage)
    body, note = load_cache(path, KEY)
    assert body == b"" and "no timing cache of segship" in note


def test_one_flipped_bit_is_found_in_the_cache(tmp_path: Path) -> None:
    path = KEY.path(tmp_path)
    store_cache(path, KEY, b"times")
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes((raw[-1] ^ 1,)))
    body, note = load_cache(path, KEY)
    assert body == b"" and "damaged" in note
    head = json.loads(raw.partition(b"\n")[0])
    assert head["gpu"] == "Orin (nvgpu)"


def test_a_cache_that_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    note = store_cache(KEY.path(tmp_path / "file" / "sub"), KEY, b"times")
    assert note.startswith("timing cache not kept")


class Error:
    """One error of a TensorRT 8 parser."""

    def __init__(self, node: int, text: str) -> None:
        self._node, self._text = node, text

    def node(self) -> int:
        return self._node

    def desc(self) -> str:
        return self._text


class NamedError(Error):
    """One of TensorRT 10 and later."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(-1, text)
        self._name = name

    def node_name(self) -> str:
        return self._name


class Parser:
    def __init__(self, *errors: Error) -> None:
        self.num_errors = len(errors)
        self._errors = errors

    def get_error(self, index: int) -> Error:
        return self._errors[index]


@pytest.mark.parametrize("error", [Error(1, "no\nimporter."), NamedError(PV, "no\nimporter.")])
def test_a_parser_error_names_node_and_part(error: Error) -> None:
    found = parser_failure(Parser(error, Error(-1, "again")), ("a", PV))
    text = str(found)
    assert f"{PV} (stage 3 pv) failed: no importer (and 1 more)." in text
    assert found.exit_code == 1


def test_a_parser_error_without_a_node_says_so() -> None:
    assert "a node without a name failed: x" in str(parser_failure(Parser(Error(-1, "x")), ("a",)))
    assert "gave no reason" in str(parser_failure(Parser(), ()))


def failure(*errors: str, workspace_mib: int | None = None) -> str:
    log = BuildLog()
    log.errors.extend(errors)
    names = ("/encoder/stages.2/blocks.1/attn/MatMul", PV, "x")
    return str(build_failure(log, names, workspace_mib=workspace_mib, total_mib=7620.0))


def test_a_failed_build_names_the_node_and_its_part() -> None:
    text = failure(f"Could not find any implementation for node {PV}.", "buildEngine failed.")
    assert f"the build failed at {PV} (stage 3 pv): Could not find any implementation" in text
    assert "buildEngine" not in text  # which says nothing


def test_a_node_is_not_taken_for_one_whose_name_it_begins() -> None:
    text = failure("no implementation for node /encoder/stages.2/blocks.1/attn/MatMul_10.")
    assert "failed: no implementation" in text  # MatMul_10 is no node of this graph


def test_out_of_memory_tells_numbers() -> None:
    text = failure(
        "Requested amount of GPU memory (1073741824 bytes) could not be allocated. There may not "
        f"be enough free memory for {PV}.",
        "OutOfMemory (no further information)",
        workspace_mib=2048,
    )
    assert "it ran out" in text and "the device has 7620 MiB" in text and "2048 MiB" in text


def test_out_of_memory_tells_what_was_wanted() -> None:
    text = failure("Out of memory: 1073741824 bytes requested")
    assert "1024 MiB were wanted" in text and "--workspace allows all of it" in text


def test_no_report_at_all_is_said() -> None:
    assert "the build failed: TensorRT gave no reason" in failure()


def labelled(share: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """An engine that labels the first `share` of the pixels 1."""

    def infer(pixels: NDArray[Any]) -> NDArray[Any]:
        flat = np.zeros(pixels.shape[-1], np.uint8)
        flat[: int(share * flat.size)] = 1
        return flat[None, None]

    return infer


def test_disagreement_is_counted_between_every_two_engines() -> None:
    images = [np.zeros((1, 3, 1, 100), np.float32)] * 2
    found = rebuild_variance(
        [labelled(0.0), labelled(0.1), labelled(0.3)], lambda out: out, images, rounds=2
    )
    expected = ((0.0, 0.1, 0.3), (0.1, 0.0, 0.2), (0.3, 0.2, 0.0))
    assert np.allclose(found.disagreement, expected)
    assert found.worst_disagreement == pytest.approx(0.3)
    assert (found.images, found.rounds) == (2, 2)


def test_times_are_those_of_the_runs_alone_and_the_order_turns() -> None:
    now, seen = [0.0], list[int]()
    costs = (1.0, 2.0)

    def engine(index: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
        def infer(pixels: NDArray[Any]) -> NDArray[Any]:
            seen.append(index)
            now[0] += costs[index]
            return pixels[:, 0]

        return infer

    def label(output: NDArray[Any]) -> NDArray[Any]:
        now[0] += 100.0  # must not count
        return output

    images = [np.zeros((1, 3, 2, 2), np.float32)]
    found = rebuild_variance([engine(0), engine(1)], label, images, rounds=3, clock=lambda: now[0])
    assert [item.median_ms for item in found.engines] == [1000.0, 2000.0]
    assert [item.maximum_ms for item in found.engines] == [1000.0, 2000.0]
    assert found.spread == pytest.approx(1.0)
    assert seen[2 + 2 * WARM_UP_RUNS :] == [0, 1, 1, 0, 0, 1]


def test_outputs_may_be_an_engines_own_buffer() -> None:
    buffer = np.zeros((1, 2, 2), np.uint8)

    def first(pixels: NDArray[Any]) -> NDArray[Any]:
        del pixels
        buffer[:] = 1
        return buffer

    def second(pixels: NDArray[Any]) -> NDArray[Any]:
        del pixels
        buffer[:] = 2
        return buffer

    found = rebuild_variance([first, second], lambda out: out, [np.zeros((1, 3, 2, 2))], rounds=1)
    assert found.worst_disagreement == 1.0


def test_engine_files_are_compared_on_drawn_scenes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Two copies of an ONNX file stand for two engines."""
    path = tmp_path / "m.onnx"
    export(tiny_checkpoint, path, batch=2)
    found = compare_engines(
        [path, path], "scenes:3", opener=lambda one: open_session(one, runtime="onnxruntime")
    )
    assert (found.images, len(found.engines), found.worst_disagreement) == (3, 2, 0.0)


@pytest.mark.parametrize("engines", [0, 1])
def test_one_engine_has_no_variance(engines: int) -> None:
    with pytest.raises(InputError, match="two engines or more"):
        rebuild_variance([labelled(0.0)] * engines, lambda out: out, [np.zeros((1, 3, 1, 4))])
