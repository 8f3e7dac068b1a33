"""Every section of a report in Chromium: quiet, in contrast, on paper, for a screen reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from segship.benchmark.record import load_record
from segship.reports.html import render_records
from segship.tests.reports.browser import CONTRAST, WIDTHS_PX, Browser, needs_chromium, requested

pytestmark = needs_chromium


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("name", ["full_report", "two_records"])
def test_every_section_opens_quietly(
    browser: Browser, request: pytest.FixtureRequest, width_px: int, name: str
) -> None:
    path = request.getfixturevalue(name)
    browser.logs("browser")
    requested(browser)
    browser.open(path, width_px=width_px)
    inside = ("data:", "chrome://", path.as_uri())
    assert [url for url in requested(browser) if not url.startswith(inside)] == []
    assert browser.logs("browser") == []
    assert browser.run("return document.documentElement.scrollWidth") <= width_px
    identifiers = browser.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_the_measured_records_open_quietly(
    browser: Browser, repository: Path, tmp_path: Path, width_px: int
) -> None:
    files = sorted((repository / "benchmarks" / "results").glob("b?-512-*.json"))
    assert files
    path = tmp_path / "measured.html"
    path.write_text(render_records([load_record(file) for file in files], max_miou_drop=0.005))
    assert path.stat().st_size < 5_000_000
    browser.logs("browser")
    browser.open(path, width_px=width_px)
    assert browser.logs("browser") == []
    assert browser.run("return document.documentElement.scrollWidth") <= width_px


def test_without_scripts_nothing_is_missing(browser: Browser, full_report: Path) -> None:
    browser.scripts(on=False)
    try:
        browser.open(full_report, width_px=1280)
    finally:
        browser.scripts(on=True)
    seen = "return [...document.querySelectorAll('%s')].filter(e => e.checkVisibility()).length"
    assert browser.run(seen % "[data-metric]") == 4
    assert browser.run(seen % ".panel img") == 3 * (3 + 2 * 5)
    assert browser.run(seen % ".viewer, .picker, .sort, .tip") == 0


@pytest.mark.parametrize("dark", [False, True])
def test_every_section_stands_out(browser: Browser, two_records: Path, dark: bool) -> None:
    browser.open(two_records, width_px=1280, dark=dark)
    browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
    ratios = browser.run(CONTRAST)
    assert {f"TD.heat-{level}" for level in range(6)} <= {entry[1] for entry in ratios}
    assert [entry for entry in ratios if entry[0] < 4.5] == []  # WCAG 2.1, 1.4.3, level AA


def test_paper_shows_no_controls(browser: Browser, full_report: Path) -> None:
    browser.open(full_report, width_px=1280)
    browser.media("print")
    seen = "return [...document.querySelectorAll('%s')].filter(e => e.checkVisibility()).length"
    assert browser.run(seen % ".viewer, nav, .picker, .panel button") == 0
    assert browser.run(seen % ".panel img") == 3 * (3 + 2)
    browser.media("screen")


# Markup, name, place in the order of the keyboard and height of every control.
CONTROLS = """
const name = e => e.getAttribute('aria-label') || e.textContent.trim()
  || [...(e.labels || [])].map(l => l.textContent.trim()).join('');
return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]
  .filter(e => e.checkVisibility() && !e.classList.contains('skip'))
  .map(e => [e.outerHTML.slice(0, 80), name(e), e.tabIndex, e.getBoundingClientRect().height]);
"""


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_a_screen_reader_finds_its_way(browser: Browser, two_records: Path, width_px: int) -> None:
    browser.open(two_records, width_px=width_px)
    controls = browser.run(CONTROLS)
    assert len(controls) > 30
    assert [c for c in controls if not c[1] or c[2] > 0] == []
    count = "return document.querySelectorAll('%s').length"
    assert browser.run(count % "main") == browser.run(count % "body > header") == 1
    levels = browser.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(levels, levels[1:], strict=False))
    assert browser.run(count % "table") == browser.run(count % "table caption")
    nameless = "img:not([alt]), section:not([aria-labelledby]), nav:not([aria-label])"
    assert browser.run(count % nameless) == 0
    assert browser.run("return document.documentElement.lang") == "en"
    boxes = [c for c in controls if c[0].startswith(("<select", "<button")) and "sort" not in c[0]]
    assert len(boxes) > 5
    assert [c for c in boxes if c[3] < 24] == []  # px: WCAG 2.2, 2.5.8; heads of columns are text
