"""ADE20K (SceneParse150): raw label 0 is ignored, 1 to 150 become classes 0 to 149."""

from __future__ import annotations

from pathlib import Path

from .dataset import FileDataset
from .label_table import identity_table
from .layout import choose_split, subfolders, wrong_layout
from .pairing import pair_files
from .palette import Labels, default_palette

_FOLDER = "ADEChallengeData2016"  # what the archive unpacks to
ADE_CLASSES = (
    *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane"),
    *("grass", "cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant"),
    *("curtain", "chair", "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror"),
    *("rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub"),
    *("railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter"),
    *("sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs"),
    *("runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge"),
    *("bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench"),
    *("countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar"),
    *("arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier"),
    *("awning", "streetlight", "booth", "television receiver", "airplane", "dirt track"),
    *("apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet"),
    *("poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer"),
    *("plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag"),
    *("minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade name", "microwave"),
    *("pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood"),
    *("sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate"),
    *("monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag"),
)


class Ade20k(FileDataset):
    """One split; the shift by one happens here and nowhere else, whatever the contract says."""

    def __init__(self, root: Path, split: str | None, *, name: str = "ade20k") -> None:
        """List the files of `split`.

        Raises:
            InputError: another layout, no such split, or an image without labels.
        """
        root = root / _FOLDER if (root / _FOLDER).is_dir() else root
        images, masks = root / "images", root / "annotations"
        if not images.is_dir() or not masks.is_dir():
            layouts = ["images/{training,validation}/*.jpg with annotations/…/*.png"]
            raise wrong_layout("ADE20K (SceneParse150)", layouts, root)
        splits = [item for item in subfolders(images) if (masks / item).is_dir()]
        chosen = choose_split(split, splits, root)
        super().__init__(name, root, pair_files(images / chosen, masks / chosen))
        self.classes, self.palette = ADE_CLASSES, default_palette(len(ADE_CLASSES))
        self.table = reduced_labels(len(ADE_CLASSES), self.ignore_index)
        self.notes = ("raw labels 1 to 150 are classes 0 to 149, raw label 0 is ignored",)


def reduced_labels(classes: int, ignore_index: int) -> Labels:
    """Return the table that shifts labels 1..`classes` down by one and ignores 0.

    Values above stay, so that they are refused.
    """
    return identity_table([(0, ignore_index), *((raw, raw - 1) for raw in range(1, classes + 1))])
