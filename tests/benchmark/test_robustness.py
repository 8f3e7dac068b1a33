"""Boundaries and damaged images in the record of a real run, and in every format."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segship.benchmark.evaluate import evaluate
from segship.benchmark.record import Record, load_record, save_record
from segship.benchmark.scoring import read_scoring
from segship.cli import segship
from segship.reports.confusion_file import write_confusion
from segship.reports.confusion_picture import confusion_picture, shade
from segship.reports.sheet import sheets


@pytest.fixture(scope="module")
def measured(tiny: Callable[..., Any]) -> Record:
    """Two tiny models on three scenes with every further score."""
    scoring = read_scoring(boundary="2", corruptions="brightness=0,noise=0.3", exclude=["sign"])
    candidates = [tiny().candidate, tiny("other", seed=3).candidate]
    return evaluate(candidates, "scenes:3", scoring=scoring, examples=0, progress=False)


def test_no_damage_loses_nothing_and_noise_is_scored_beside_the_baseline(measured: Record) -> None:
    base, other = measured.measurements
    assert [item.kind for item in base.corruptions] == ["brightness", "noise"]
    assert base.accuracy and other.accuracy and other.accuracy.drop
    assert base.corruptions[0].drop == 0.0
    assert other.corruptions[0].drop == 0.0
    assert other.corruptions[0].beside_baseline == other.accuracy.drop.miou
    noisy = base.corruptions[1]
    assert noisy.miou != base.accuracy.miou
    assert noisy.drop == base.accuracy.miou - noisy.miou
    assert base.corruptions[1].beside_baseline is None
    seen = other.corruptions[1]
    assert seen.low is not None and seen.high is not None and seen.low <= seen.high


def test_boundaries_skip_excluded_classes_in_their_mean(measured: Record) -> None:
    accuracy = measured.measurements[0].accuracy
    assert accuracy and accuracy.boundary
    found = accuracy.boundary
    assert found.tolerance == "2 px"
    kept = [score for score in found.f[:-1] if score is not None]  # sign is the last class
    assert found.mean == pytest.approx(float(np.mean(kept)))


def test_a_saved_record_holds_them_and_the_tables_show_them(
    measured: Record, tmp_path: Path
) -> None:
    save_record(measured, tmp_path / "r.json")
    record = load_record(tmp_path / "r.json")
    assert record.measurements == measured.measurements
    found = {sheet.key: sheet for sheet in sheets(record)}
    assert {"boundary", "corruptions"} <= found.keys()
    damage = [[cell.text for cell in row[:3]] for row in found["corruptions"].rows]
    names = [item.name for item in record.measurements]
    assert damage == [[kind, name, s] for kind, s in (("brightness", "0"), ("noise", "0.3"))
                      for name in names]  # fmt: skip
    assert len(found["boundary"].rows) == 1 + len(record.classes)


def test_nothing_of_it_is_measured_unasked(tiny: Callable[..., Any]) -> None:
    record = evaluate([tiny().candidate], "scenes:1", examples=0, progress=False)
    (item,) = record.measurements
    assert item.corruptions == ()
    assert item.accuracy and item.accuracy.boundary is None


def test_the_confusion_csv_holds_every_count(measured: Record, tmp_path: Path) -> None:
    write_confusion(measured, tmp_path / "c.csv")
    rows = list(csv.reader((tmp_path / "c.csv").open()))
    assert rows[0] == ["artifact", "truth", *measured.classes]
    matrices = [item.accuracy.confusion for item in measured.measurements if item.accuracy]
    assert [tuple(map(int, row[2:])) for row in rows[1:]] == [r for m in matrices for r in m]
    assert rows[1 + len(measured.classes)][0] == measured.measurements[1].name


def test_the_confusion_picture_shades_shares(measured: Record) -> None:
    item = measured.measurements[0]
    assert item.accuracy
    matrix = np.array(item.accuracy.confusion)
    row, column = np.unravel_index(int(matrix.argmax()), matrix.shape)
    share = matrix[row, column] / matrix[row].sum()
    pixels = np.asarray(confusion_picture(measured, [item]))
    wanted = np.all(np.abs(pixels.astype(int) - shade(float(share))) <= 1, axis=-1)
    assert wanted.sum() > 34 * 34 // 2  # a cell, less its number
    assert (shade(1 / 3), shade(0.5)) == ((181, 211, 227), (112, 167, 195))


def test_command_and_refusals(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model, out = str(tiny().path), tmp_path / "c.png"
    command = ["evaluate", model, "--runtime", "onnxruntime", "--data", "scenes:1"]
    extra = ["--boundary", "0.75%", "--corruptions", "jpeg=20", "--confusion", str(out)]
    result = CliRunner().invoke(segship, [*command, *extra])
    assert result.exit_code == 0, result.output
    assert "Boundary F-score" in result.output and "Damaged images" in result.output
    with Image.open(out) as picture:
        assert picture.format == "PNG"
    for wrong in (["--boundary", "far"], ["--corruptions", "fog"], ["--confusion", "c.jpg"]):
        refused = CliRunner().invoke(segship, [*command, *wrong])
        assert refused.exit_code == 2
        assert "Expected" in refused.output
