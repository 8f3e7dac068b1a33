"""Attention maps in the report: a picture per head and artifact, and the change between them."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segship.benchmark.attention import AttentionMaps, HeadMaps
from segship.benchmark.record import Record, save_record
from segship.commands.report import report
from segship.reports.attention import attention_sheet
from segship.reports.html import render_records
from segship.tests.reports.test_html import Page


def maps(count: int) -> AttentionMaps:
    """Return two heads that look at the left, and at the right in the second artifact."""
    left, right = np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)
    left[:, 0], left[:, 1], right[:, 3] = 4.0, 2.0, 4.0
    heads = tuple(
        HeadMaps(stage, 1, (left, end)[:count], moved if count == 2 else None)
        for stage, end, moved in ((1, left, 0.0), (2, right, 1.0))
    )
    photo = np.full((30, 60, 3), 100, np.uint8)
    return AttentionMaps("a<b>.png", ("float.onnx", "int8.onnx")[:count], photo, heads)


def pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)), np.int64)


def test_pictures_show_where_a_head_looks() -> None:
    sheet = attention_sheet(maps(2))
    first, second = (heads[0] for _, heads in sheet.stages)
    assert [overlay.caption for overlay in first.overlays] == [
        "float.onnx, up to 4.0×", "int8.onnx, up to 4.0×", "change"
    ]  # fmt: skip
    before, after, change = (pixels(overlay.uri) for overlay in second.overlays)
    assert before[75, 10].sum() > before[75, 290].sum() + 200  # light yellow against violet
    assert after[75, 290].sum() > after[75, 10].sum() + 200
    assert change[75, 290, 0] > 200 > change[75, 290, 2]  # orange: more
    assert change[75, 10, 2] > 200 > change[75, 10, 0]  # blue: less
    half = pixels(first.overlays[0].uri)[75, [30, 110]].sum(axis=1)
    assert half[0] > half[1] + 100  # 4 and 2, the scale ending at the highest value
    still = pixels(first.overlays[2].uri)
    assert still.max() - still.min() <= 2  # JPEG: nothing changed, plain grey
    assert (first.moved, second.moved) == ("0.00 % moved", "100.00 % moved")
    assert sheet.most == "Head 1 of stage 2 moved most: 100.00 %."


@pytest.mark.parametrize(("count", "pictures"), [(1, 2), (2, 6)])
def test_the_section_stands_in_the_page(
    make_record: Callable[..., Record], count: int, pictures: int
) -> None:
    for records in ([make_record()], [make_record(), make_record(count=2)]):
        page = render_records(records, attention=maps(count))
        parsed = Page(page)
        assert (parsed.broken, parsed.open) == ([], [])
        section = page.partition('<section id="attention"')[2]
        assert section.count("<img ") == pictures
        assert all(re.search(r'alt="[^"]{10,}"', p) for p in re.findall("<img [^>]*>", section))
        assert "a&lt;b&gt;.png" in section
        assert ("moved most" in section) == (count == 2)
        assert ('href="#attention"' in page) == (len(records) == 1)


def test_the_command_needs_file_and_photo(
    make_record: Callable[..., Record], tiny_onnx: Path, tmp_path: Path
) -> None:
    save_record(make_record(count=2), tmp_path / "r.json")
    Image.fromarray(maps(1).photo).save(tmp_path / "p.png")
    base = [str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")]
    refused = CliRunner().invoke(report, [*base, "--photo", str(tmp_path / "p.png")])
    assert refused.exit_code == 2
    assert "go together" in refused.output
    wanted = ["--attention", str(tiny_onnx), "--photo", str(tmp_path / "p.png")]
    done = CliRunner().invoke(report, [*base, *wanted])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count('class="look"') == 10


def test_the_precision_of_files_stands_in_the_page(
    make_record: Callable[..., Record], tiny_onnx: Path, tmp_path: Path
) -> None:
    found = {"a.onnx": {"stage 1 q": "fp32+int8", "stage 1 kv": "int8", "classifier": "fp16"}}
    page = render_records([make_record()], network=found)
    parsed = Page(page)
    assert (parsed.broken, parsed.open) == ([], [])
    section = page.partition('<section id="network"')[2]
    for tone, text in (("mixed", "FP32+INT8"), ("8", "INT8"), ("16", "FP16")):
        assert f'<td class="bits-{tone}">{text}</td>' in section
    assert "a.onnx: 1 part in FP32+INT8, 1 part in INT8, 1 part in FP16" in section
    assert 'href="#network"' in page
    save_record(make_record(count=2), tmp_path / "r.json")
    wanted = [str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html"), "--network", str(tiny_onnx)]
    done = CliRunner().invoke(report, wanted)
    assert done.exit_code == 0, done.output
    assert "bits-32" in (tmp_path / "r.html").read_text(encoding="utf-8").partition("<body>")[2]
