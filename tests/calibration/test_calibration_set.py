"""No image that is evaluated on, whatever was done to it; every class; nothing silent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from segship.calibration.calibration_set import open_calibration
from segship.calibration.coverage import all_label_counts
from segship.calibration.fingerprint import (
    NEAR_BITS,
    Fingerprint,
    difference_hash,
    find_twins,
    fingerprint_of,
)
from segship.calibration.stratified import choose_stratified
from segship.common.errors import InputError
from segship.data.contract import Contract, InputKind
from segship.data.dataset import Sample
from segship.data.palette import Image8
from segship.data.scenes import Scenes
from segship.data.spec import open_dataset

CONTRACT = Contract(size_px=(64, 96))
Change = Callable[[Image.Image], Image.Image]


def jpeg(quality: int) -> Change:
    def change(picture: Image.Image) -> Image.Image:
        import io

        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return change


CHANGES: dict[str, Change] = {
    "encoded anew": jpeg(30),
    "half": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "square": lambda picture: picture.resize((512, 512)),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.6),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "flatter": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
}


def mark(image: Image8, name: str = "x") -> Fingerprint:
    empty = np.zeros(image.shape[:2], np.uint8)
    return fingerprint_of(Sample(name, None, image, empty), None)


def write_folder(root: Path, images: dict[str, Image8], suffix: str = ".png") -> str:
    """A folder data set without masks; return its specification."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for name, image in images.items():
        Image.fromarray(image).save(root / "images" / f"{name}{suffix}")
        Image.fromarray(np.zeros(image.shape[:2], np.uint8)).save(root / "masks" / f"{name}.png")
    return f"folder:{root}"


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_other_scenes_are_not(change: str) -> None:
    scenes = Scenes(12)
    theirs = [mark(scenes.sample(index).image, str(index)) for index in range(12)]
    altered = [
        mark(np.asarray(CHANGES[change](Image.fromarray(scenes.sample(index).image))), f"c{index}")
        for index in range(12)
    ]
    twins = find_twins(altered, theirs)
    assert [(twin.name, twin.other) for twin in twins] == [(f"c{i}", str(i)) for i in range(12)]
    others = Scenes(30, "train")
    assert not find_twins([mark(others.sample(index).image) for index in range(30)], theirs)


@pytest.mark.parametrize("change", CHANGES)
def test_camvid_copies_are_found(shared_dir: Path, change: str) -> None:
    dataset = open_dataset(f"camvid:{shared_dir}/camvid@val")
    chosen = range(0, 101, 20)
    theirs = [mark(dataset.sample(index).image, str(index)) for index in chosen]
    pictures = [Image.fromarray(dataset.sample(index).image) for index in chosen]
    altered = [mark(np.asarray(CHANGES[change](picture))) for picture in pictures]
    assert len(find_twins(altered, theirs)) == len(chosen)


def test_camvid_official_split_is_accepted_and_a_split_of_one_video_is_not(
    shared_dir: Path,
) -> None:
    root = f"camvid:{shared_dir}/camvid"
    chosen = open_calibration(f"{root}@train", CONTRACT, images=24, evaluation=f"{root}@val")
    assert len(chosen) == 24 and chosen.notes == ()
    frames = [open_dataset(f"{root}@val").sample(index).image for index in range(8)]
    twins = find_twins([mark(frame) for frame in frames[::2]], [mark(f) for f in frames[1::2]])
    assert len(twins) == 4  # frames a fifteenth of a second apart are near duplicates


def test_the_hash_ignores_size_and_tells_pictures_apart() -> None:
    scene, other = Scenes(2).sample(0).image, Scenes(2).sample(1).image
    assert difference_hash(scene).shape == (512,)
    twice = scene.repeat(2, axis=0).repeat(2, axis=1)
    assert np.count_nonzero(difference_hash(twice) != difference_hash(scene)) <= 5
    assert np.count_nonzero(difference_hash(other) != difference_hash(scene)) > NEAR_BITS


def test_overlap_is_refused_by_file_pixels_and_look(tmp_path: Path) -> None:
    images = {f"scene{index}": Scenes(6).sample(index).image for index in range(3)}
    judged = write_folder(tmp_path / "judged", images)
    darker = (images["scene2"] * 0.8).astype(np.uint8)
    same_pixels = {"a": images["scene1"], "b": darker, "c": Scenes(6).sample(5).image}
    mine = write_folder(tmp_path / "mine", same_pixels, ".bmp")
    with pytest.raises(InputError) as refusal:
        open_calibration(mine, CONTRACT, evaluation=judged)
    text = str(refusal.value)
    assert text.startswith("Expected calibration images that are no evaluation images, but 2 of 3")
    assert "a.bmp = " in text and "scene1.png, same pixels" in text and "bits apart" in text
    assert "c.bmp" not in text and "--allow-overlap" in text and "\n" not in text
    with pytest.raises(InputError, match="scene0.png, same file"):
        open_calibration(judged, CONTRACT, evaluation=judged)
    insisted = open_calibration(mine, CONTRACT, evaluation=judged, allow_overlap=True)
    assert any("2 of 3 images" in note for note in insisted.notes)


def test_few_images_are_warned_about_and_noise_is_named() -> None:
    assert "only 15 calibration images" in open_calibration("scenes:15", CONTRACT).notes[0]
    assert open_calibration("scenes:16", CONTRACT).notes == ()
    noise = open_calibration("random:16", CONTRACT, evaluation="scenes:3")
    assert "cannot be trusted" in noise.notes[0] and len(noise) == 16
    first, again = next(noise.pixels()), next(noise.pixels())
    assert first.shape == (1, 3, 64, 96) and np.array_equal(first, again)
    for wrong in ("random", "random:", "random:0", "random:x", "random:3@val", "noise:3"):
        with pytest.raises(InputError, match="Expected"):
            open_calibration(wrong, CONTRACT)


def test_the_same_seed_gives_the_same_set_and_the_digest_follows_the_pixels() -> None:
    one, same = (open_calibration("scenes:40", CONTRACT, images=16, seed=1) for _ in range(2))
    other = open_calibration("scenes:40", CONTRACT, images=16, seed=2)
    assert (one.indices, one.digest) == (same.indices, same.digest)
    assert one.indices != other.indices and one.digest != other.digest
    pixels = list(one.pixels())
    assert len(pixels) == len(one) == 16 and pixels[0].dtype == np.float32
    raw = Contract(size_px=(64, 96), input=InputKind.UINT8)
    assert next(open_calibration("scenes:2", raw).pixels()).dtype == np.uint8


def test_coverage_counts_classes_and_brightness() -> None:
    chosen = open_calibration("scenes:20", CONTRACT)
    scenes = Scenes(20)
    counts = all_label_counts(scenes)
    assert counts.shape == (20, 9)
    for index, share in enumerate(chosen.coverage.classes):
        assert share.name == scenes.classes[index]
        assert share.images == np.mean(counts[:, index] > 0)
        assert share.pixels == pytest.approx(counts[:, index].sum() / counts.sum())
    quantiles = chosen.coverage.brightness
    assert len(quantiles) == 5 and list(quantiles) == sorted(quantiles)
    assert 0 < quantiles[0] and quantiles[-1] < 255


def test_stratified_meets_every_class_that_random_misses() -> None:
    counts = np.zeros((300, 5), np.int64)
    counts[:, 0] = 1000
    for class_, images in ((1, 150), (2, 30), (3, 3), (4, 1)):
        counts[7 * class_ : 7 * class_ + images, class_] = 20
    for seed in range(10):
        chosen = choose_stratified(counts, 5, seed=seed)
        assert len(set(chosen)) == 5 and list(chosen) == sorted(chosen)
        assert (counts[list(chosen)].sum(axis=0) > 0).all()
    assert choose_stratified(counts, 5, seed=3) == choose_stratified(counts, 5, seed=3)
    assert choose_stratified(counts, 20, seed=0) != choose_stratified(counts, 20, seed=1)
    assert choose_stratified(counts, 400) == tuple(range(300))


def test_stratified_holds_more_of_the_rare_classes() -> None:
    counts = all_label_counts(Scenes(60))
    shares = counts / counts.sum(axis=0)
    rare = int(counts.sum(axis=0).argmin())
    by_class = shares[list(choose_stratified(counts, 12))].sum(axis=0)
    assert by_class[rare] > 0.3 and by_class.min() > 0.15  # 12 of 60 at random: 0.2 on average


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="strategy of random, stratified"):
        open_calibration("scenes:4", CONTRACT, strategy="best")
    with pytest.raises(InputError, match="at least 1 image"):
        open_calibration("scenes:4", CONTRACT, images=0)
    images = {"a": Scenes(1).sample(0).image}
    plain = write_folder(tmp_path / "plain", images)
    with pytest.raises(InputError, match="labels to choose by class"):
        open_calibration(plain, CONTRACT, strategy="stratified")
