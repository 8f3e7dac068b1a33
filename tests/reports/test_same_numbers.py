"""Terminal, Markdown and HTML print the same characters for the same record."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from segship.benchmark.record import Measurement, Record
from segship.reports.columns import groups
from segship.reports.html import render_html
from segship.reports.markdown import render_markdown
from segship.reports.table import print_record
from segship.reports.verdict import judge


def terminal(record: Record, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), no_color=True)
    print_record(record, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def html_rows(page: str) -> list[list[str]]:
    """Return the texts of the cells of the table of measurements, row by row."""
    table = page.partition('<table class="measurements sortable">')[2].partition("</table>")[0]
    body = table.partition("<tbody>")[2]
    return [
        [_text(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in body.split("</tr>")
        if "<td" in row
    ]


def markdown_rows(text: str) -> list[list[str]]:
    """Return the cells of the table of measurements in Markdown, row by row."""
    table = text.partition("## Measurements\n\n")[2].partition("\n\n")[0]
    return [
        [cell.strip().replace("\\", "") for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()[2:]
    ]


def _text(markup: str) -> str:
    plain = re.sub(r'<span class="tag">.*?</span>', "", markup)
    return html.unescape(re.sub(r"<[^>]+>", "", plain)).strip()


def written(record: Record, item: Measurement) -> list[str]:
    return [column.text(item) for group in groups(record) for column in group.columns]


def test_every_format_shows_every_number(make_record: Callable[..., Record]) -> None:
    record = make_record()
    wanted = [[str(key), *written(record, item)] for key, item in enumerate(record.measurements, 1)]
    assert html_rows(render_html(record)) == wanted
    found = markdown_rows(render_markdown(record))
    found[0][1] = found[0][1].removesuffix(" (baseline)")
    assert found == wanted
    lines = terminal(record).splitlines()
    for row in wanted:
        own = [line.split() for line in lines if re.match(rf"\s+{row[0]}  ", line)]
        assert len(own) == 2
        for cell in row[2:]:
            words = cell.split()
            assert any(words == part[i : i + len(words)] for part in own for i in range(len(part)))


def test_the_numbers_are_those_of_the_record(make_record: Callable[..., Record]) -> None:
    record = make_record(count=2)
    one = record.measurements[1]
    assert one.latency and one.frame and one.accuracy and one.memory
    expected = [
        one.name,
        "openvino",
        "fp32",
        f"{one.accuracy.miou * 100:.2f}",
        "0.00 [0.00,\N{NO-BREAK SPACE}0.00]",
        "100",
        f"{one.latency.median_ms:.1f}",
        f"{one.latency.p90_ms:.1f}",
        f"{one.latency.p99_ms:.1f}",
        f"{one.speedup:.2f}×",
        f"{one.frame.total.median_ms:.1f}",
        f"{one.frame_speedup:.2f}×",
        "262",
        "14.3",
    ]
    assert written(record, one) == expected


def test_the_headline_is_the_same_sentence(make_record: Callable[..., Record]) -> None:
    record = make_record()
    sentence = judge(record).text
    assert sentence in " ".join(terminal(record, width=300).split())
    assert sentence in render_markdown(record).replace("**", "")
    page = render_html(record)
    assert sentence in _text(page.partition('<p class="verdict">')[2].partition("</p>")[0])


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_no_digit_is_cropped_in_a_narrow_terminal(
    make_record: Callable[..., Record], width: int
) -> None:
    record = make_record()
    text = terminal(record, width=width)
    assert "…" not in text
    assert all(len(line.rstrip()) <= max(width, 78) for line in text.splitlines())
    for item in record.measurements:
        assert item.memory
        assert f"{item.memory.peak_mib:.0f}  {item.memory.file_mib:.1f}" in text


def test_warnings_protocol_and_environment_are_everywhere(
    make_record: Callable[..., Record],
) -> None:
    record = make_record(count=2)
    warned = replace(record.measurements[1], warnings=("the spread is 14 %",))
    record = replace(
        record, measurements=(record.measurements[0], warned), warnings=("the machine was busy",)
    )
    outputs = [render_html(record), render_markdown(record), terminal(record, width=200)]
    for text in outputs:
        assert "the spread is 14 %" in text
        assert "the machine was busy" in text
        assert "Xeon" in text
        assert "stretch to 512x512" in text
    for text in outputs[:2]:
        assert "paired Poisson bootstrap" in text
        assert "2026.4.1" in text
        assert "fold-head" in text or all(not m.lineage["passes"] for m in record.measurements)


def test_per_class_numbers_agree(make_record: Callable[..., Record]) -> None:
    record = make_record()
    page, text = render_html(record), render_markdown(record)
    table = page.partition('<table class="classes sortable">')[2].partition("</table>")[0]
    for index, name in enumerate(record.classes):
        (line,) = [row for row in text.splitlines() if row.startswith(f"| {name} |")]
        row = next(r for r in table.split("</tr>") if f"{name}</th>" in r)
        numbers = re.findall(r'<td class="number[^"]*">([^<]*)</td>', row)
        assert numbers == [cell.strip() for cell in line.strip("|").split("|")][1:]
        accuracy = record.measurements[0].accuracy
        assert accuracy
        iou = accuracy.iou[index]
        assert iou is not None
        assert numbers[0] == f"{iou * 100:.2f}"
    assert page.count(">worst</span>") == text.count("loses most in") == 2
