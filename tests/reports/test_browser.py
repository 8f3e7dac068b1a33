"""The report in a real Chromium: nothing fetched, nothing overflows, the selector works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from segship.benchmark.record import Record
from segship.reports.html import write_html
from segship.tests.reports.browser import CONTRAST, WIDTHS_PX, Browser, needs_chromium, requested
from segship.tests.reports.test_definitions_shown import with_depth, with_further

pytestmark = needs_chromium


@pytest.fixture
def report(make_record: Callable[..., Record], tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    write_html(make_record(examples=2), path)
    return path


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_opens_quietly_and_fetches_nothing(browser: Browser, report: Path, width_px: int) -> None:
    browser.logs("browser")
    requested(browser)
    browser.open(report, width_px=width_px)
    urls = requested(browser)
    assert report.as_uri() in urls  # the log does see requests
    inside = ("data:", "chrome://")  # the page's own pictures, and those of Chromium's controls
    assert [url for url in urls if not url.startswith(inside) and url != report.as_uri()] == []
    assert browser.logs("browser") == []
    assert browser.run("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("kind", ["usual", "crowded", "long names"])
def test_the_page_never_scrolls_sideways(
    browser: Browser,
    make_record: Callable[..., Record],
    tmp_path: Path,
    width_px: int,
    kind: str,
) -> None:
    record = make_record(count=19, classes=150) if kind == "crowded" else make_record(examples=1)
    if kind == "long names":
        record = lengthen(record)
    path = tmp_path / "report.html"
    write_html(record, path)
    browser.open(path, width_px=width_px)
    assert browser.run("return window.innerWidth") == width_px
    assert browser.run("return document.documentElement.scrollWidth") <= width_px


def test_the_tables_of_measurements_fit_a_desktop_page(
    browser: Browser, make_record: Callable[..., Record], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write_html(with_depth(with_further(make_record(examples=1))), path)
    browser.open(path, width_px=1280)
    script = "const all = [...document.querySelectorAll('#measurements .scroll')];"
    assert browser.run(f"{script} return all.length") == 3
    assert browser.run(f"{script} return all.every(s => s.scrollWidth <= s.clientWidth)")


def test_the_selector_shows_one_candidate_at_a_time(browser: Browser, report: Path) -> None:
    browser.open(report, width_px=1280)
    shown = (
        "return [...new Set([...document.querySelectorAll('[data-candidate]')]"
        ".filter(p => getComputedStyle(p).display !== 'none').map(p => p.dataset.candidate))]"
    )
    headline = browser.run("return document.querySelector('.verdict').textContent")
    first = browser.run(shown)
    assert len(first) == 1 and headline.startswith(first[0])
    browser.run(
        "const p = document.getElementById('candidate'); p.value = 'plain-openvino';"
        "p.dispatchEvent(new Event('change'))"
    )
    assert browser.run(shown) == ["plain-openvino"]


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_background(browser: Browser, report: Path, dark: bool) -> None:
    browser.open(report, width_px=1280, dark=dark)
    ratios = browser.run(CONTRAST)
    assert len(ratios) > 50
    assert min(ratios, key=lambda entry: entry[0])[0] >= 4.5  # WCAG 2.1, 1.4.3, level AA


def lengthen(record: Record) -> Record:
    """Return the record with one candidate whose name has no place to break."""
    name = "checkpoints/" + "segformer-b0-finetuned-cityscapes-1024-1024" * 3 + ".onnx"
    items = list(record.measurements)
    items[-2] = replace(items[-2], name=name)
    return replace(record, measurements=tuple(items), title="t" * 200)
