"""A Chromium driven over plain WebDriver, and what the tests ask it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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

needs_chromium = pytest.mark.skipif(
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

    def press(self, key: str, code: int) -> None:
        """Press and release a key in the element that has the focus; `code` is Windows' for it."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        values = {"key": key, "windowsVirtualKeyCode": code}
        self._devtools("Input.dispatchKeyEvent", {"type": "keyDown", **values, **text})
        self._devtools("Input.dispatchKeyEvent", {"type": "keyUp", **values})

    def click(self, selector: str, *, drag_px: int = 0) -> None:
        """Press the mouse in the middle of the first `selector`, move it right, let it go."""
        x, y = self.place(selector)
        for kind, at in (("Pressed", x), ("Moved", x + drag_px), ("Released", x + drag_px)):
            point = {"type": f"mouse{kind}", "x": at, "y": y, "button": "left", "buttons": 1}
            self._devtools("Input.dispatchMouseEvent", {**point, "clickCount": 1})

    def hover(self, selector: str) -> None:
        """Move the mouse over the first `selector`."""
        x, y = self.place(selector)
        self._devtools("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})

    def place(self, selector: str) -> tuple[float, float]:
        """Scroll the first `selector` into view and return its middle in CSS pixels."""
        x, y = self.run(
            f"const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]"
        )
        return float(x), float(y)

    def media(self, kind: str) -> None:
        """Show the page as on `kind`: "print" or "screen"."""
        self._devtools("Emulation.setEmulatedMedia", {"media": kind})

    def scripts(self, *, on: bool) -> None:
        """Let the scripts of the pages opened next run, or not."""
        self._devtools("Emulation.setScriptExecutionDisabled", {"value": not on})

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


def requested(browser: Browser) -> list[str]:
    """Return every URL the page asked for since the last look."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.logs("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


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
