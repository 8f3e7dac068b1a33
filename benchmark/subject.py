"""One opened model in an evaluation: what it is fed and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..data.contract import Contract, InputKind, OutputKind
from ..runtimes.cuda.labels import DeviceLogits
from ..runtimes.depth_picture import depth_from_output
from ..runtimes.interpolation import resize_bilinear
from ..runtimes.labels import labels_from_output
from ..runtimes.session import Session
from .dense import decide, mirrored
from .opened import DEPTH, labelling_head, static_batch
from .windows import Fields, Slide, slide

Array = NDArray[Any]
Size = tuple[int, int]


@dataclass(frozen=True)
class Seen:
    """What one model saw in one image, (H,W) each; None where nobody asked or it has no head."""

    labels: Array | None = None
    depth: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Subject:
    """One opened model: its session, the contract at the size to use, and the post-processing.

    `postprocess` is a method of `labels_from_output`, or "gpu" for a runtime that can leave logits
    on its device. `slide` feeds windows instead of the whole image, `flip` averages with the
    mirrored image.
    """

    name: str
    session: Session
    contract: Contract
    postprocess: str = "sparse"
    slide: Slide | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        """Refuse what is averaged on the host and labelled on the device."""
        if self.postprocess == "gpu" and (self.slide or self.flip):
            raise InputError(
                f"Expected one whole image for post-processing on the GPU, but {self.name} is "
                "averaged over windows or flips: leave out --postprocess gpu."
            )

    @property
    def preprocessing(self) -> tuple[object, ...]:
        """What decides the input array; subjects with equal values share it."""
        item = self.contract
        geometry = (item.size_px, item.resize, item.resample, item.channel_order, item.input)
        if item.input is InputKind.UINT8:
            return geometry
        return (*geometry, item.scale, item.mean, item.std)

    def see(self, pixels: Array, labels_px: Size | None, depth_px: Size | None) -> Seen:
        """Return labels and depth at the sizes wanted (None: not wanted) for pixels (1,3,h,w)."""
        labels, depth = labelling_head(self.contract), DEPTH in self.contract.heads
        wanted = {labels: labels_px} if labels and labels_px else {}
        wanted |= {DEPTH: depth_px} if depth and depth_px else {}
        if not wanted:
            return Seen()
        if self.slide or self.flip:
            return self._dense(pixels, labels, wanted)
        return self.seen(self.outputs(pixels), labels_px, depth_px)

    def outputs(self, pixels: Array) -> dict[str, Array | DeviceLogits]:
        """Return (1,…) per head for the whole image; with "gpu" the logits stay on the device.

        Raises:
            InputError: "gpu", and the runtime has them in host memory.
        """
        batch = self._batch(pixels)
        if self.postprocess == "gpu" and self.contract.output is not OutputKind.LABELS:
            kept = self.session.run_keeping_logits(batch)
            return {head: output[:1] for head, output in kept.items()}
        return {head: output[:1] for head, output in self.session.run(batch).items()}

    def seen(
        self,
        outputs: Mapping[str, Array | DeviceLogits],
        labels_px: Size | None,
        depth_px: Size | None,
    ) -> Seen:
        """Return what outputs (1,…) per head mean, as `see` does for the whole image."""
        head, labels, depth = labelling_head(self.contract), None, None
        if head and labels_px:
            output = outputs[head]
            maps = labels_from_output(output, self.contract, labels_px, method=self.postprocess)
            labels = maps[0]
        deep = outputs.get(DEPTH)
        if depth_px and isinstance(deep, np.ndarray):
            depth = depth_from_output(deep, self.contract, depth_px)[0]
        return Seen(labels, depth)

    def _batch(self, pixels: Array) -> Array:
        """Return the image (1,3,h,w) as often as a static artifact takes it."""
        batch = static_batch(self.session)
        return np.repeat(pixels, batch, axis=0) if batch > 1 else pixels

    def _dense(self, pixels: Array, labels: str, wanted: Mapping[str, Size]) -> Seen:
        def predict(image: Array) -> Fields:
            return self._fields(image, wanted)

        fields = predict(pixels)
        others = [mirrored(predict, pixels)] if self.flip else []
        found, depth = None, None
        if labels in wanted:
            ways = [item[labels] for item in (fields, *others)]
            found = decide(ways, self.contract, wanted[labels], method=self.postprocess)
        if DEPTH in wanted:
            maps = [item[DEPTH] for item in (fields, *others)]
            mean = np.stack(maps).mean(axis=0, dtype=np.float32)
            depth = resize_bilinear(np.asarray(mean), wanted[DEPTH], self.contract.align_corners)[0]
        return Seen(found, depth)

    def _fields(self, pixels: Array, wanted: Mapping[str, Size]) -> Fields:
        """Return logits and depth per head (C,h,w): of the windows joined, or of the image."""
        if self.slide is None:
            found = self.session.run(self._batch(pixels))
            fields = {head: self._field(head, found[head][:1], wanted[head])[0] for head in wanted}
            # copies: an output may be the runtime's own buffer, and the mirrored image follows
            return {head: np.array(field) for head, field in fields.items()}
        first = self.session.input.shape[0]
        batch = first if isinstance(first, int) else None
        crop_px = self.slide.crop_px

        def of_windows(windows: Array) -> Fields:
            outputs = self.session.run(windows)
            return {head: self._field(head, outputs[head], crop_px) for head in wanted}

        return slide(pixels, self.slide, self.contract, batch, of_windows)

    def _field(self, head: str, output: Array, size_px: Size) -> NDArray[np.float32]:
        """Return an output as float32 (n,C,*size_px): logits, or depth in the data's unit."""
        if head == DEPTH:
            return depth_from_output(output, self.contract, size_px)[:, None]
        return resize_bilinear(output, size_px, self.contract.align_corners)
