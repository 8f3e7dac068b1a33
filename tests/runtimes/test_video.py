"""Videos written and read by the real library; models are numpy functions or tiny files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("av", reason="needs PyAV: pip install 'segship[video]'")

from segship.cli import segship
from segship.common.errors import InputError, MissingDependencyError
from segship.data.contract import Contract
from segship.runtimes import video, video_file
from segship.runtimes.video import drawn, predict_video
from segship.runtimes.video_file import VideoFrame, VideoReader, VideoWriter

TIMES_S = (0.0, 0.1, 0.3, 0.4)  # one frame is shown twice as long
GREYS = (40, 90, 140, 190)


def film(path: Path, size_px: tuple[int, int] = (64, 96)) -> Path:
    """Write frames of one grey each, so that their order survives the codec."""
    writer = VideoWriter(path, Fraction(10))
    for time_s, grey in zip(TIMES_S, GREYS, strict=True):
        writer.write(VideoFrame(np.full((*size_px, 3), grey, np.uint8), time_s))
    writer.close()
    return path


def frames(path: Path) -> list[VideoFrame]:
    with VideoReader(path) as reader:
        return list(reader.frames())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_keep_order_colour_and_time(suffix: str, tmp_path: Path) -> None:
    found = frames(film(tmp_path / f"a{suffix}"))
    assert [item.time_s for item in found] == pytest.approx(TIMES_S, abs=1e-3)
    assert [float(item.picture.mean()) for item in found] == pytest.approx(GREYS, abs=3)
    assert found[0].picture.shape == (64, 96, 3)


def test_odd_sizes_are_made_even_by_repeating(tmp_path: Path) -> None:
    found = frames(film(tmp_path / "a.mp4", (63, 95)))
    assert found[0].picture.shape == (64, 96, 3)
    assert float(found[1].picture[-1].mean()) == pytest.approx(90, abs=3)


def test_an_overlay_of_every_frame_and_its_rate(tiny_onnx: Path, tmp_path: Path) -> None:
    source = film(tmp_path / "drive.mp4", (100, 160))
    command = ["predict", str(tiny_onnx), str(source), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(segship, [*command, "--runtime", "onnxruntime", "--alpha", "0"])
    assert result.exit_code == 0, result.output
    found = frames(tmp_path / "out" / "drive_overlay.mp4")
    assert [item.time_s for item in found] == pytest.approx(TIMES_S, abs=1e-3)
    # nothing of the labels is seen at alpha 0: the frame itself comes back
    assert [float(item.picture.mean()) for item in found] == pytest.approx(GREYS, abs=4)
    assert found[0].picture.shape == (100, 160, 3)
    assert "4 frames in" in result.output and "frames/s" in result.output
    for part in video.PARTS:
        assert f"{part} " in result.output


def test_labels_are_seen_and_frames_can_be_limited(tiny_onnx: Path, tmp_path: Path) -> None:
    source, out = film(tmp_path / "drive.mp4"), tmp_path / "seen.mkv"
    run = predict_video(tiny_onnx, source, out, runtime="onnxruntime", alpha=1, limit=2)
    assert (run.path, run.frames) == (out, 2)
    assert {len(times) for times in run.parts_ms.values()} == {2}
    assert run.wall_s > 0
    assert sum(map(sum, run.parts_ms.values())) <= 1e3 * run.wall_s
    found = frames(out)
    assert len(found) == 2
    assert float(found[0].picture.std()) > 10 or abs(float(found[0].picture.mean()) - 40) > 10


def test_depth_stands_at_the_right() -> None:
    picture = np.full((6, 8, 3), 100, np.uint8)
    logits = np.zeros((1, 2, 6, 8), np.float32)
    depth = np.ones((1, 1, 6, 8), np.float32)
    both = Contract(size_px=(6, 8), classes=("a", "b"), heads=("segmentation", "depth"))
    outputs = {"segmentation": logits, "depth": depth}
    seen = drawn(picture, outputs, both, 0)
    assert seen.shape == (6, 16, 3)
    assert (seen[:, :8] == picture).all()
    only = Contract(size_px=(6, 8), classes=(), heads=("depth",))
    assert (drawn(picture, {"depth": depth}, only, 0) == seen).all()


@contextlib.contextmanager
def stopping(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """Press Ctrl-C while frame number `after` is drawn."""
    real, drawings = video.drawn, iter(range(100))

    def draw(*arguments: Any) -> Any:
        if next(drawings) == after:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(video, "drawn", draw)
    yield
    monkeypatch.setattr(video, "drawn", real)


def test_an_interrupted_file_leaves_nothing(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(tmp_path / "drive.mp4")
    before = sorted(tmp_path.iterdir())
    with stopping(monkeypatch, 2), pytest.raises(KeyboardInterrupt):
        predict_video(tiny_onnx, source, tmp_path / "o.mp4", runtime="onnxruntime")
    assert sorted(tmp_path.iterdir()) == before


def test_an_interrupted_camera_keeps_what_it_recorded(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(tmp_path / "drive.mp4")
    monkeypatch.setattr(video_file, "_place", lambda _: (str(source), None))  # no camera here
    with stopping(monkeypatch, 2):
        run = predict_video(tiny_onnx, "camera:0", tmp_path, runtime="onnxruntime")
    assert run.interrupted and run.frames == 2
    assert run.path == tmp_path / "camera0_overlay.mp4"
    monkeypatch.undo()
    assert len(frames(run.path)) == 2


def test_damaged_or_missing_videos_are_one_line(tiny_onnx: Path, tmp_path: Path) -> None:
    broken = film(tmp_path / "a.mp4")
    broken.write_bytes(broken.read_bytes()[:300])
    sound = tmp_path / "text.mp4"
    sound.write_text("no video")
    before = sorted(tmp_path.iterdir())
    for source in (broken, sound, tmp_path / "none.mp4", "camera:77"):
        with pytest.raises(InputError) as caught:
            predict_video(tiny_onnx, source, tmp_path / "out", runtime="onnxruntime")
        assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_video_cut_in_the_middle_leaves_no_output(tiny_onnx: Path, tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv")
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[400:middle] = bytes(middle - 400)
    source.write_bytes(bytes(data))
    with contextlib.suppress(InputError):
        run = predict_video(tiny_onnx, source, tmp_path / "o.mp4", runtime="onnxruntime")
        assert run.frames == len(frames(run.path))  # what could be read is whole
        return
    assert not (tmp_path / "o.mp4").exists()


def test_the_input_is_never_the_output(tiny_onnx: Path, tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    data = source.read_bytes()
    with pytest.raises(InputError, match="another file than the input"):
        predict_video(tiny_onnx, source, source, runtime="onnxruntime")
    assert source.read_bytes() == data


def test_without_pyav_one_line_says_how_to_get_it(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    source = film(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'segship\[video\]'"):
        predict_video(tiny_onnx, source, tmp_path / "o.mp4", runtime="onnxruntime")


def test_frames_of_photos_are_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    command = ["predict", str(tiny_onnx), str(tmp_path), "-o", str(tmp_path), "--frames", "2"]
    result = CliRunner().invoke(segship, command)
    assert result.exit_code == 2
    assert "--frames is for videos" in result.output


def test_a_name_or_a_model_that_cannot_be_makes_no_folder(tiny_onnx: Path, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4")
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"\.mkv, \.mov, \.mp4, but got .*out\.avi"):
        predict_video(tiny_onnx, source, tmp_path / "out.avi")
    with pytest.raises(InputError, match=r"none\.onnx"):
        predict_video(tmp_path / "none.onnx", source, tmp_path / "out")
    assert set(tmp_path.iterdir()) == before
