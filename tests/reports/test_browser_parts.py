"""What a reader can do with a report in Chromium: sort, swipe, zoom, read points, by both means."""

from __future__ import annotations

from pathlib import Path

import pytest

from segship.tests.reports.browser import WIDTHS_PX, Browser, needs_chromium

pytestmark = needs_chromium
ENTER, TAB, RIGHT, ESCAPE, PLUS, ZERO = 13, 9, 39, 27, 187, 48


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_head_sorts_its_table(
    browser: Browser, full_report: Path, width_px: int, by: str
) -> None:
    browser.open(full_report, width_px=width_px)
    table = "document.querySelector('#classes table')"
    read = f"return [...{table}.tBodies[0].rows].map(r => parseFloat(r.cells[1].textContent))"
    state = f"return {table}.querySelector('[aria-sort]')?.getAttribute('aria-sort')"
    button = "#classes thead tr:last-child th:nth-child(2) button"
    before = browser.run(read)
    assert browser.run(state) is None
    for order in ("descending", "ascending"):
        if by == "mouse":
            browser.click(button)
        else:
            browser.run(f"document.querySelector('{button}').focus()")
            browser.press("Enter", ENTER)
        assert browser.run(state) == order
        assert browser.run(read) == sorted(before, reverse=order == "descending")
    assert browser.run(f"return {table}.querySelectorAll('[aria-sort]').length") == 1


def test_minus_signs_sort_as_numbers_and_dashes_last(browser: Browser, full_report: Path) -> None:
    browser.open(full_report, width_px=1280)
    browser.run(
        "const rows = document.querySelector('#classes table').tBodies[0].rows;"
        "['+0.20', '−3.00', '–', '1,200'].forEach((t, i) => rows[i].cells[4].textContent = t)"
    )
    button = "#classes thead tr:last-child th:nth-child(5) button"
    browser.click(button)
    browser.click(button)
    texts = browser.run(
        "return [...document.querySelector('#classes table').tBodies[0].rows]"
        ".map(r => r.cells[4].textContent)"
    )
    assert (texts[0], texts[-2], texts[-1]) == ("−3.00", "1,200", "–")


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_the_edge_moves_by_keyboard_and_by_drag(
    browser: Browser, full_report: Path, width_px: int
) -> None:
    browser.open(full_report, width_px=width_px)
    clip = "return document.querySelectorAll('.film .over')[1].style.clipPath"
    assert browser.run(clip) == "inset(0px 50% 0px 0px)"
    browser.run("document.querySelector('.swipe input').focus()")
    browser.press("ArrowRight", RIGHT)
    assert browser.run(clip) == "inset(0px 49% 0px 0px)"
    other = "return document.querySelectorAll('.film .over')[0].style.clipPath"
    assert browser.run(other) == "inset(0px 0px 0px 51%)"  # each picture on its side alone
    browser.click(".film", drag_px=60)
    share = float(browser.run(clip).split()[1].rstrip("%"))
    width = browser.run("return document.querySelector('.film').clientWidth")
    assert share == pytest.approx(50 - 6000 / width, abs=1.0)  # the range's whole steps
    assert browser.run("return document.querySelector('.swipe input').value") == str(
        round(100 - share)
    )


def test_the_worst_image_comes_first_and_others_open(browser: Browser, full_report: Path) -> None:
    browser.open(full_report, width_px=1280)
    names = browser.run("return [...document.querySelectorAll('.panel')].map(p => p.dataset.name)")
    assert [name[-9:-4] for name in names] == ["07960", "07959", "07961"]
    assert browser.run("return document.querySelector('.which').value") == names[0]
    other = "const p = document.getElementById('candidate'); p.value = 'rewritten-onnxruntime';"
    browser.run(f"{other} p.dispatchEvent(new Event('change'))")
    order = "return [...document.querySelectorAll('.which option')].map(o => o.value)"
    assert browser.run(order) == [names[2], names[1], names[0]]
    browser.click(".panel:last-child button")
    assert browser.run("return document.querySelector('.which').value") == names[0]
    alts = browser.run("return [...document.querySelectorAll('.film .over')].map(i => i.alt)")
    assert all(names[0] in alt for alt in alts)


def test_disagreement_is_laid_over_the_pictures(browser: Browser, full_report: Path) -> None:
    browser.open(full_report, width_px=1280)
    canvas = "document.querySelector('.film canvas')"
    assert browser.run(f"return {canvas}.checkVisibility()") is False
    browser.click(".differ")
    assert browser.run(f"return {canvas}.checkVisibility()") is True
    browser.click(".through")
    opacity = "return getComputedStyle(document.querySelector('.film .over')).opacity"
    assert browser.run(opacity) == "0.6"
    pixel = f"return [...{canvas}.getContext('2d').getImageData(%d, 2, 1, 1).data]"
    assert browser.run(pixel % 3) == [255, 92, 64, 255]
    assert browser.run(pixel % 12)[3] < 200  # what agrees is seen through


def test_the_pictures_zoom_by_keyboard(browser: Browser, full_report: Path) -> None:
    browser.open(full_report, width_px=390)
    width = "return document.querySelector('.film').offsetWidth"
    before = browser.run(width)
    browser.run("document.querySelector('.stage').focus()")
    browser.press("+", PLUS)
    browser.press("+", PLUS)
    assert browser.run(width) == pytest.approx(4 * before, abs=4)  # rounded to whole pixels
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    browser.press("0", ZERO)
    assert browser.run(width) == before


def test_a_point_says_what_it_is(browser: Browser, full_report: Path) -> None:
    browser.open(full_report, width_px=1280)
    tip = "return (t => t.hidden ? '' : t.textContent)(document.querySelector('.tip'))"
    assert browser.run(tip) == ""
    browser.hover("#measurements .wide .dot:last-of-type .reach")
    assert "mIoU" in browser.run(tip)
    browser.press("Escape", ESCAPE)
    assert browser.run(tip) == ""
    browser.run("document.querySelector('#measurements .wide .dot').focus()")
    assert "drop" in browser.run(tip)
    browser.press("Tab", TAB)
    assert browser.run("return document.activeElement.classList.contains('dot')")


def test_one_heat_map_is_shown_at_a_time(browser: Browser, full_report: Path) -> None:
    browser.open(full_report, width_px=1280)
    shown = (
        "return [...document.querySelectorAll('[data-metric]')]"
        ".filter(m => m.checkVisibility()).map(m => m.dataset.metric)"
    )
    assert browser.run(shown) == ["changed"]
    browser.run(
        "const p = document.getElementById('metric'); p.value = 'saves';"
        "p.dispatchEvent(new Event('change'))"
    )
    assert browser.run(shown) == ["saves"]
