"""Videos and cameras in, H.264 out, by PyAV: the only place that imports it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..common.errors import InputError, MissingDependencyError
from ..common.files import existing_path
from ..data.palette import Image8

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
OUTPUT_SUFFIXES = (".mkv", ".mov", ".mp4")
_CAMERA = re.compile(r"camera:(\d+)")
_DEFAULT_RATE = Fraction(30)  # frames per second, where a camera does not say
_QUALITY = {"crf": "20", "preset": "veryfast"}  # of libx264: near transparent, not the slowest


@dataclass(frozen=True)
class VideoFrame:
    """An RGB picture (H,W,3) uint8, upright, and when it is shown in seconds."""

    picture: Image8
    time_s: float


def is_video(source: str | Path) -> bool:
    """Say whether `source` names a video file by its suffix, or a camera: "camera:0".

    >>> is_video("camera:0"), is_video("a/drive.MP4"), is_video("photos")
    (True, True, False)
    """
    return is_camera(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def is_camera(source: str | Path) -> bool:
    """Say whether `source` is a camera."""
    return _CAMERA.fullmatch(str(source)) is not None


class VideoReader:
    """The frames of the first video stream of a file, or of a camera; use as a context manager."""

    def __init__(self, source: str | Path) -> None:
        """Open it.

        Raises:
            InputError: there is no such file or camera, or no video in it.
            MissingDependencyError: PyAV is not installed.
        """
        av = _pyav()
        self.name, self._error = str(source), av.error.FFmpegError
        place, form = _place(source)
        try:
            self._container = av.open(place, format=form)
        except (self._error, OSError, ValueError) as error:
            raise InputError(self._broken(error)) from error
        if not self._container.streams.video:
            self._container.close()
            raise InputError(f"Expected a video, but {source} has no picture: check the file.")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate: Fraction = self._stream.average_rate or _DEFAULT_RATE
        self.count = int(self._stream.frames) or None  # None where nobody knows

    def __enter__(self) -> VideoReader:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._container.close()

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames in the order they are shown.

        Raises:
            InputError: the file is damaged, or holds no frame.
        """
        seen = 0
        try:
            for frame in self._container.decode(self._stream):
                time_s = float(seen / self.rate) if frame.time is None else frame.time
                yield VideoFrame(_upright(frame), time_s)
                seen += 1
        except self._error as error:
            raise InputError(self._broken(error)) from error
        if not seen:
            raise InputError(f"Expected frames in {self.name}, but it holds none: check the file.")

    def _broken(self, error: Exception) -> str:
        reason = " ".join(str(error).split())[:160]
        what = "a camera" if is_camera(self.name) else "a whole video"
        return f"Expected {what}, but {self.name} cannot be read ({reason}): check it."


class VideoWriter:
    """An H.264 video without sound; `close` makes the file whole."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        """Open `path`, which its suffix tells the container of.

        Raises:
            MissingDependencyError: PyAV is not installed.
        """
        self._av = _pyav()
        self._container = self._av.open(str(path), "w")
        self._rate = rate
        self._stream: Any = None
        self._last = -1

    def write(self, frame: VideoFrame) -> None:
        """Append a frame; the first decides the size, made even by repeating the last line."""
        picture = np.pad(
            frame.picture, [(0, n % 2) for n in frame.picture.shape[:2]] + [(0, 0)], "edge"
        )
        if self._stream is None:
            self._open(picture.shape)
        made = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        base = self._stream.codec_context.time_base
        self._last = max(self._last + 1, round(frame.time_s / base))
        made.pts, made.time_base = self._last, base
        self._container.mux(self._stream.encode(made))

    def close(self) -> None:
        """Write what the encoder still holds and close the file; again it does nothing."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._container.mux(stream.encode(None))
        self._container.close()

    def _open(self, shape: tuple[int, ...]) -> None:
        self._stream = self._container.add_stream("libx264", rate=self._rate, options=_QUALITY)
        self._stream.height, self._stream.width = shape[:2]
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, 90_000)  # fine enough for any rate


@contextlib.contextmanager
def writing(path: Path, rate: Fraction) -> Iterator[VideoWriter]:
    """Yield a writer whose file is closed at the end, whatever happens."""
    writer = VideoWriter(path, rate)
    try:
        yield writer
    finally:
        writer.close()


def _upright(frame: Any) -> Image8:
    """Return the picture as a player shows it: phones store a rotation beside the pixels."""
    picture: Image8 = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _place(source: str | Path) -> tuple[str, str | None]:
    """Return what FFmpeg opens, and as what."""
    camera = _CAMERA.fullmatch(str(source))
    if camera is None:
        return str(existing_path(source, "a video")), None
    import sys

    forms = {"darwin": (camera[1], "avfoundation"), "win32": (f"video={camera[1]}", "dshow")}
    return forms.get(sys.platform, (f"/dev/video{camera[1]}", "v4l2"))


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "Expected PyAV for videos and cameras, but it is not installed: "
            "pip install 'segship[video]'."
        ) from error
    return av
