"""The report in a real Chromium: nothing fetched, nothing overflows, the selector works."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segship.benchmark.record import Record
from segship.reports.html import write_html
from segship.tests.reports.test_definitions_shown import with_depth, with_further

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
WIDTHS_PX = (1280, 390)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs chromium and chromedriver (Debian: chromium chromium-driver)",
)


class Browser:
    """The few WebDriver commands these tests need, over plain HTTP."""

    def __init__(self, port: int, profile: Path) -> None:
        self._root = f"http://127.0.0.1:{port}"
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._send("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._root += f"/session/{answer['sessionId']}"

    def open(self, path: Path, *, width_px: int, height_px: int = 900, dark: bool = False) -> None:
        """Load a file in a window of the given size in CSS pixels."""
        size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1}
        self._devtools("Emulation.setDeviceMetricsOverride", {**size, "mobile": width_px < 600})
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})
        self._send("/url", {"url": path.as_uri()})

    def run(self, script: str) -> Any:
        """Run the body of a function in the page and return its value."""
        return self._send("/execute/sync", {"script": script, "args": []})

    def logs(self, kind: str) -> list[dict[str, Any]]:
        """Return and clear the log entries of `kind`."""
        entries: list[dict[str, Any]] = self._send("/se/log", {"type": kind})
        return entries

    def screenshot(self) -> str:
        """Return the whole page as base64 PNG."""
        answer = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": True})
        return str(answer["data"])

    def _devtools(self, command: str, values: dict[str, Any]) -> Any:
        return self._send("/goog/cdp/execute", {"cmd": command, "params": values})

    def _send(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(self._root + path, json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def close(self) -> None:
        """End the session, and Chromium with it."""
        request = urllib.request.Request(self._root, method="DELETE")
        with contextlib.suppress(urllib.error.URLError):
            urllib.request.urlopen(request, timeout=30).close()


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Start chromedriver on a free port with a fresh profile; stop what was started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen(
        [str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        browser = Browser(port, profile)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def report(make_record: Callable[..., Record], tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    write_html(make_record(examples=2), path)
    return path


def requested(browser: Browser) -> list[str]:
    """Return every URL the page asked for since the last look."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.logs("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


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


# Contrast of every element that holds text of its own, against the nearest painted ancestor.
CONTRAST = """
const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const painted = e => {
  for (let node = e; node; node = node.parentElement) {
    const c = parse(getComputedStyle(node).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
return [...document.body.querySelectorAll('*')]
  .filter(e => own(e) && e.checkVisibility() && !['SCRIPT', 'TITLE', 'title'].includes(e.tagName))
  .map(e => {
    const style = getComputedStyle(e);
    const ink = light(parse(e instanceof SVGElement ? style.fill : style.color));
    const paper = light(painted(e));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    return [ratio, e.tagName + '.' + (e.getAttribute('class') || ''), e.textContent.slice(0, 40)];
  });
"""
