"""Several records in one file: side by side, never merged; what does not compare is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from segship.benchmark.record import Record, save_record
from segship.common.errors import InputError
from segship.reports.comparison import compare
from segship.reports.html import render_records
from segship.reports.write import write_report
from segship.tests.reports.test_html import Page


def of_other_host(record: Record) -> Record:
    host = replace(record.environment, host_id="another", cpu="Another processor")
    return replace(record, environment=host)


def test_one_host_and_data_share_a_plot(make_record: Callable[..., Record]) -> None:
    one, other = make_record(), make_record(count=2)
    found = compare([one, other], 0.005)
    assert [side.letter for side in found.sides] == ["A", "B"]
    assert [row[0] for row in found.rows] == [*(f"A{i}" for i in range(1, 7)), "B1", "B2"]
    assert [row[0] for row in found.rows if row[1]] == ["A1", "B1"]
    plot = found.plots[0][1]
    assert [dot.key for dot in plot.dots] == [row[0] for row in found.rows]
    assert [dot.key for dot in plot.dots if dot.baseline] == ["A1"]
    assert plot.budget and plot.budget.text == "budget: −0.50 points"
    assert found.differing == ()
    assert "not of one run" in found.notes[0]


def test_another_host_keeps_out_of_the_plot(make_record: Callable[..., Record]) -> None:
    found = compare([make_record(count=2), of_other_host(make_record(count=2))])
    plot = found.plots[0][1]
    assert plot.missing == ("record B",)
    assert {dot.key[0] for dot in plot.dots} == {"A"}
    assert dict(found.differing)["processor"][1] == "Another processor"
    assert any("different hosts" in note for note in found.notes)


def test_other_images_are_said(make_record: Callable[..., Record]) -> None:
    other = make_record(count=2)
    other = replace(other, protocol=replace(other.protocol, data_sha256="e5" * 32))
    found = compare([make_record(count=2), other])
    assert any("different images" in note for note in found.notes)
    assert found.plots[0][1].missing == ("record B",)


def test_each_record_has_its_own_section(make_record: Callable[..., Record]) -> None:
    page = render_records([make_record(examples=1), of_other_host(make_record(count=2))])
    parsed = Page(page)
    assert (parsed.broken, parsed.open) == ([], [])
    identifiers = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = [v[1:] for _, name, v in parsed.attributes if name == "href"]
    assert set(targets) <= set(identifiers)
    assert {"a-measurements", "b-measurements", "a-images", "comparison"} <= set(identifiers)
    assert len(re.findall(r"<h1[ >]", page)) == 1


def test_records_are_read_from_files(make_record: Callable[..., Record], tmp_path: Path) -> None:
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    for path in paths:
        save_record(make_record(count=2), path)
    page = write_report(paths, tmp_path / "r.html", max_miou_drop=0.01).read_text(encoding="utf-8")
    assert "2 records compared" in page
    assert page.count("budget: −1.00 points</text>") == 6  # two sizes of three plots
    with pytest.raises(InputError, match="one record for Markdown"):
        write_report(paths, tmp_path / "r.md")
    assert not (tmp_path / "r.md").exists()


def test_too_many_records_are_refused(make_record: Callable[..., Record]) -> None:
    with pytest.raises(InputError, match="1 to 26 records, but got 27"):
        render_records([make_record(count=1)] * 27)
    with pytest.raises(InputError, match="but got 0"):
        render_records([])


def test_a_record_without_data_says_so(make_record: Callable[..., Record]) -> None:
    record = make_record(count=2)
    bare = replace(record, protocol=replace(record.protocol, data="", images=0, data_sha256=""))
    page = render_records([record, bare])
    assert "no data set; 2 threads" in page
    assert "0 images" not in page
    assert dict(compare([record, bare]).differing)["data"][1] == "–"
