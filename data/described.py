"""A data set as a YAML file describes it: globs, a rule of pairing, an encoding, splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..common.errors import InputError
from .contract import Contract
from .dataset import FileDataset
from .described_files import described_pairs
from .description import Description, Encoding, Unlisted, read_description
from .label_table import ignore_values, label_table, look_up, reduce_labels
from .masks import BROKEN, ColourKey
from .palette import Labels, default_palette
from .palette_file import BACKGROUND, named_classes, one_ignored

_MODES = {
    Encoding.INDEX: ("L", "1", "P", "I", "I;16", "I;16B", "I;16L"),
    Encoding.PALETTE: ("P",),
    Encoding.COLOUR: ("RGB", "RGBA"),
    Encoding.BINARY: ("L", "1", "P"),
}
_MODE_WORDS = {"L": "grey", "1": "black and white", "P": "palette", "RGB": "colour"}


class DescribedDataset(FileDataset):
    """The data set of `yaml:FILE[@SPLIT]`; `description.py` lists the keys.

    Classes that the file does not name are the model's. A value is first compared with `ignore`,
    then mapped.
    """

    def __init__(
        self,
        file: Path,
        split: str | None = None,
        *,
        name: str = "yaml",
        contract: Contract | None = None,
    ) -> None:
        """Read the description and find its files.

        Raises:
            InputError: a wrong description, files that do not pair, or no such split.
        """
        described = read_description(file)
        super().__init__(name, described.root, described_pairs(described, split))
        self.described = described
        self.depth_unit_m = described.depth_unit_m
        self.extra_files = (file,)
        self.reduce = False
        if not self.has_labels:
            self.notes = ("there are no labels",)
            return
        _check_mode(self.pairs[0].mask, described.encoding)
        if described.reduce_labels is not None:
            self.reduce = described.reduce_labels
        elif contract and not described.label_map:
            self.reduce = contract.reduce_labels
        self._name_classes(described, contract)
        if described.encoding is Encoding.COLOUR:
            ignoring = described.unlisted is Unlisted.IGNORE
            self.key = ColourKey(described.palette, self.ignore_index, ignoring)
        if described.label_map:
            self.table = label_table(described.label_map, self.ignore_index)
        self.notes = tuple(self._notes())

    def map_labels(self, labels: Labels) -> Labels:
        """Return the labels that the description gives the values of a file."""
        ignored = self.ignore_index
        if self.table is not None:
            return look_up(labels, self.table, ignored)
        if self.described.encoding is Encoding.BINARY:
            binary: Labels = (labels > 0).astype(np.uint8)
            if self.described.ignore:  # 255 may be foreground: only what is listed is ignored
                binary[np.isin(labels, self.described.ignore)] = ignored
            return binary
        labels = ignore_values(labels, self.described.ignore, ignored)
        return reduce_labels(labels, ignored) if self.reduce else labels

    def _name_classes(self, described: Description, contract: Contract | None) -> None:
        """Decide classes, colours and the label that stands for the ignored ones."""
        self.classes, self.palette, self.ignore_index = named_classes(None, contract)
        self.classes = described.classes or self.classes
        if described.encoding is Encoding.BINARY and len(self.classes) != 2:
            self.classes = (BACKGROUND, "foreground")
        if described.ignore:
            self.ignore_index = one_ignored(described.ignore)
        if described.label_map or self.reduce or described.encoding is Encoding.BINARY:
            self.ignore_index = 255 if len(self.classes) < 256 else 65535  # no class's number
        if described.palette and not described.label_map:
            self.palette = described.palette
            numbered = tuple(f"class {index}" for index in range(len(self.palette)))
            self.classes = self.classes or numbered
        if len(self.palette) != len(self.classes):
            self.palette = default_palette(len(self.classes))

    def _notes(self) -> list[str]:
        described = self.described
        notes = [f"as {described.path.name} describes it: {described.encoding.value} labels"]
        if described.ignore:
            notes.append(f"ignored values: {', '.join(map(str, described.ignore))}")
        if described.label_map:
            notes.append(f"label_map of {len(described.label_map)} values, others are ignored")
        if self.reduce:
            who = "the file" if described.reduce_labels else "the model's preprocessor"
            notes.append(f"labels are reduced as {who} says: 0 is ignored, 1 → 0")
        return notes


def _check_mode(file: Path | None, encoding: Encoding) -> None:
    """Refuse a first label file of another kind than the description says."""
    if file is None:
        return
    from PIL import Image

    try:
        with Image.open(file) as picture:
            mode = picture.mode
    except (*BROKEN, Image.DecompressionBombError):
        return  # reading the sample says what is wrong with it
    if mode not in _MODES[encoding]:
        raise InputError(
            f"Expected {encoding.value} labels as the description says, but {file} is a "
            f"{_MODE_WORDS.get(mode, mode)} image: correct 'encoding'."
        )
