"""Levels, excluded classes, depth and the protocol in every format, with the same characters."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from segship.benchmark.record import DepthAccuracy, Record
from segship.reports.columns import groups
from segship.reports.html import render_html
from segship.reports.markdown import render_markdown
from segship.reports.table import print_record
from segship.reports.verdict import judge

Make = Callable[..., Record]
DEPTH = DepthAccuracy(1000, 0.05721, 0.41, 1.25, 0.112, 0.9123, 0.98, 0.995)
CHANGE = {
    "abs_rel": 0.0012,
    "mae": -0.01,
    "rmse": 0.0,
    "rmse_log": 0.00001,
    "delta1": -0.0123,
    "delta2": 0.0,
    "delta3": 0.001,
}


def terminal(record: Record, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), no_color=True)
    print_record(record, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def with_further(record: Record) -> Record:
    items = []
    for item in record.measurements:
        assert item.accuracy
        accuracy = replace(
            item.accuracy,
            excluded=(2,),
            levels={"per image": 0.4321, "imagesegcomp:8": None},
            mean_accuracy=0.6543,
            mean_f1=0.7654,
        )
        items.append(replace(item, accuracy=accuracy))
    return replace(record, measurements=tuple(items))


def with_depth(record: Record, *, labels: bool = True) -> Record:
    items = []
    for index, item in enumerate(record.measurements):
        depth = DEPTH if index == 0 else replace(DEPTH, change=CHANGE)
        items.append(replace(item, depth=depth, accuracy=item.accuracy if labels else None))
    return replace(record, measurements=tuple(items))


def test_old_records_show_what_they_showed(make_record: Make) -> None:
    assert [group.heading for group in groups(make_record())] == [
        "Artifact",
        "Accuracy",
        "Inference",
        "Frame",
        "Memory",
    ]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_further_accuracy_is_everywhere(make_record: Make, width: int) -> None:
    record = with_further(make_record(count=2))
    (group,) = [item for item in groups(record) if item.heading == "Further accuracy"]
    texts = [column.text(record.measurements[0]) for column in group.columns]
    assert texts == ["87.46", "65.43", "76.54", "43.21", "–"]
    text = terminal(record, width)
    assert "…" not in text
    for shown in (render_html(record), render_markdown(record)):
        assert "mean F1" in shown and "mIoU per image" in shown
        assert all(value in shown for value in texts)
    assert all(value in text for value in texts)
    assert all(word in text for word in ("pixel", "image", "imagesegcomp:8"))


def test_an_excluded_class_is_listed_and_marked_and_never_the_worst(make_record: Make) -> None:
    record = make_record(count=2)
    item = record.measurements[1]
    assert item.accuracy
    drops = [0.0] * len(item.accuracy.iou)
    drops[2], drops[4] = 0.5, 0.1
    lost = replace(item, accuracy=replace(item.accuracy, iou_drop=tuple(drops)))
    plain = replace(record, measurements=(record.measurements[0], lost))
    assert "loses most in pole" in render_markdown(plain)
    assert "not in the mean" not in render_markdown(plain) + render_html(plain)
    marked = with_further(plain)
    text = render_markdown(marked)
    assert "loses most in pavement" in text
    assert "| pole (not in the mean) |" in text and text.count("not in the mean") == 1
    assert render_html(marked).count('<span class="tag">not in the mean</span>') == 1


@pytest.mark.parametrize("width", [80, 100, 160])
def test_depth_and_its_change_are_everywhere(make_record: Make, width: int) -> None:
    record = with_depth(make_record(count=2))
    (group,) = [item for item in groups(record) if item.heading == "Depth"]
    base, other = ([column.text(item) for column in group.columns] for item in record.measurements)
    assert base == ["0.0572", "0.4100", "1.2500", "0.1120", "91.23", "98.00", "99.50"]
    assert other[:4] == [
        "0.0572 (+0.0012)",
        "0.4100 (−0.0100)",
        "1.2500 (0.0000)",
        "0.1120 (0.0000)",
    ]
    assert other[4:] == ["91.23 (−1.23)", "98.00 (0.00)", "99.50 (+0.10)"]
    page, text = render_html(record), render_markdown(record)
    for cell in (*base, *other):
        assert cell in page and cell in text
    lines = terminal(record, width)
    assert "…" not in lines
    for cell in (*base, *other):
        assert all(word in lines for word in cell.split())
    assert "difference to the baseline in brackets" in page


def test_depth_alone_has_a_headline(make_record: Make) -> None:
    record = with_depth(make_record(count=2), labels=False)
    bare = [replace(item, speedup=None, frame_speedup=None) for item in record.measurements]
    record = replace(record, measurements=tuple(bare))
    verdict = judge(record)
    assert "has an AbsRel of 0.0572 (+0.0012) in depth against plain-onnx" in verdict.text
    assert ("AbsRel of depth", "0.0572", "baseline 0.0572") in [
        (figure.label, figure.value, figure.detail) for figure in verdict.figures
    ]
    alone = replace(record, measurements=record.measurements[:1])
    assert "has an AbsRel of 0.0572 in depth" in judge(alone).text
    for render in (render_html, render_markdown, terminal):
        assert "0.0572" in render(alone)


def test_the_protocol_stands_beside_the_numbers(make_record: Make) -> None:
    record = make_record(count=2)
    words = record.protocol.evaluation
    head, _, rest = render_html(record).partition('<section id="measurements"')
    assert words in head and rest
    table = render_markdown(record).partition("## Measurements")[2].partition("\n## ")[0]
    assert f"Scored so: {words}." in table
    assert words in " ".join(terminal(record).split())
