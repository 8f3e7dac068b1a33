"""Ledger, trials and sensitivity stand in every format with the same characters."""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from segship.benchmark.price import LedgerStep, PartPrice, Search, Sensitivity, Trial
from segship.benchmark.record import Record
from segship.reports.html import render_html
from segship.reports.markdown import escape, render_markdown
from segship.reports.sheet import sheets
from segship.reports.table import print_record

PRICES = (
    PartPrice("stage 1 q", 2, 1.5e-6, 2e-7, 0.0001, 0.0, 9.5, 0.52),
    PartPrice("stage 1 <sr>", 1, 0.34, 0.0386, 0.049, 0.0315, 12.4, -2.4, doubtful=True),
    PartPrice("depth classifier", 1, 0.1, None, None, None),
)
TABLE = Sensitivity(
    "float.onnx", "camvid:x@val", 16, "openvino", "bf16", 2, "entropy", "medians", PRICES, ("Busy",)
)
TRIALS = (
    Trial("float", (), 0.5598, 0.0003, 0.999, 20.0, 20.0, 1.0, doubtful=False, kept=True),
    Trial("int8", ("stage 1 q",), 0.53, 0.0295, 0.96, 18.0, 20.0, 1.11, doubtful=True, kept=False),
)
SEARCH = Search("camvid:x@val", 0.005, "openvino", "bf16", 2, TRIALS, "float", "INT8 is slower")
LEDGER = (
    LedgerStep("checkpoint", "torch", 0.56, 0.0),
    LedgerStep("INT8", "int8 · openvino", 0.5578, 0.0022),
)


def test_every_format_shows_every_cell(make_record: Callable[..., Record]) -> None:
    record = replace(make_record(), sensitivity=TABLE, search=SEARCH, ledger=LEDGER)
    console = Console(width=150, file=io.StringIO(), no_color=True)
    print_record(record, console)
    assert isinstance(console.file, io.StringIO)
    terminal, page, text = console.file.getvalue(), render_html(record), render_markdown(record)
    found = sheets(record)
    assert [item.key for item in found] == ["ledger", "search", "sensitivity"]
    for sheet in found:
        assert f'id="{sheet.key}"' in page
        assert f"## {sheet.title}" in text
        for row in sheet.rows:
            assert "| " + " | ".join(escape(c.text) or "–" for c in row) + " |" in text
            for cell in row:
                assert cell.text in terminal
                assert f">{html.escape(cell.text)}<" in page


def test_a_record_without_them_shows_none(make_record: Callable[..., Record]) -> None:
    record = make_record()
    assert sheets(record) == ()
    assert 'id="sensitivity"' not in render_html(record)
    assert "Loss ledger" not in render_markdown(record)


def test_numbers_and_bars(make_record: Callable[..., Record]) -> None:
    record = replace(make_record(), sensitivity=TABLE, search=SEARCH, ledger=LEDGER)
    ledger, search, parts = sheets(record)
    assert [cell.text for cell in ledger.rows[1]] == ["INT8", "int8 · openvino", "55.78", "+0.22"]
    assert [cell.text for cell in ledger.rows[2]] == ["total", "", "55.78", "+0.22"]
    assert [row[-1].text for row in search.rows] == ["chosen", "loses too much"]
    assert search.rows[1][7].text == "1.11×?"
    first, second, third = parts.rows
    assert [cell.text for cell in first] == [
        "stage 1 q", "2", "1.5e-06", "2.0e-07", "0.010", "0.00", "+0.52"
    ]  # fmt: skip
    assert second[-1].text == "−2.40?"
    assert second[-1].length == 100
    assert third[-1].text == "–"
    assert second[4].length == 100  # the greatest share of changed labels
    assert first[4].length is not None
    assert 5 < first[4].length < 15  # 490 times less: 2.7 of 3 decades
