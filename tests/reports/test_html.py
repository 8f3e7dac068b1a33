"""The HTML file stands alone, escapes what it shows, and renders odd records."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from segship.benchmark.record import Measurement, Record, load_record, save_record
from segship.common.errors import InputError
from segship.reports.html import render_html, write_html
from segship.reports.markdown import render_markdown

HOSTILE = """<script>alert("x")</script>'"><img src=x onerror=alert(1)>{{ 7*7 }}"""
BARE = {
    "accuracy": None,
    "latency": None,
    "frame": None,
    "memory": None,
    "cold_start": None,
    "speedup": None,
    "frame_speedup": None,
}
FETCHING = {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"}
VOID = {"meta", "img", "link", "input", "br", "hr"}


class Page(HTMLParser):
    """Every attribute, and whether the elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.broken: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)


def with_all(record: Record, **changes: object) -> Record:
    """Return the record with the same changes in every measurement."""
    items = tuple(replace(item, **changes) for item in record.measurements)  # type: ignore[arg-type]  # fields of the tests' own choice
    return replace(record, measurements=items)


def renamed(record: Record, name: str) -> Record:
    """Return the record with its second measurement, its classes and examples called `name`."""
    old = record.measurements[1].name

    def swap(pictures: dict[str, str]) -> dict[str, str]:
        return {name if key == old else key: value for key, value in pictures.items()}

    items: list[Measurement] = list(record.measurements)
    items[1] = replace(items[1], name=name, path=name, warnings=(name,))
    examples = tuple(
        replace(e, name=name, labels=swap(e.labels), disagreement=swap(e.disagreement))
        for e in record.examples
    )
    return replace(
        record,
        measurements=tuple(items),
        classes=(name, *record.classes[1:]),
        examples=examples,
        title=name,
        command=name,
        warnings=(name,),
    )


def test_nothing_in_the_file_can_be_fetched(make_record: Callable[..., Record]) -> None:
    page = render_html(make_record(examples=2))
    references = [value for _, name, value in Page(page).attributes if name in FETCHING and value]
    assert len(references) > 20
    assert all(value.startswith(("data:image/", "#")) for value in references)
    assert not re.search(r"https?://|@import|url\(|<link|<iframe|fetch\(|XMLHttp", page)


def test_the_policy_allows_only_what_the_file_holds(make_record: Callable[..., Record]) -> None:
    page = render_html(make_record())
    values = [value for tag, name, value in Page(page).attributes if name == "content"]
    policy = next(value for value in values if "default-src" in value)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not [name for _, name, _ in Page(page).attributes if name.startswith("on")]
    assert not [name for _, name, _ in Page(page).attributes if name == "style"]


def test_names_are_text_and_never_markup(make_record: Callable[..., Record]) -> None:
    page = render_html(renamed(make_record(examples=1), HOSTILE))
    parsed = Page(page)
    assert "&lt;script&gt;alert(" in page
    assert page.count("<script") == 1
    assert "<img src=x" not in page
    assert "{{ 7*7 }}" in page
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert (parsed.broken, parsed.open) == ([], [])


def test_markdown_names_stay_in_their_cells(make_record: Callable[..., Record]) -> None:
    name = "a|b\n# c <b>d</b> `e`"
    text = render_markdown(renamed(make_record(), name))
    table = text.partition("## Measurements\n\n")[2].partition("\n\n")[0].splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert "<b>" not in text
    assert "\n# c" not in text


def test_elements_nest_and_identifiers_are_unique(make_record: Callable[..., Record]) -> None:
    parsed = Page(render_html(make_record(count=19, classes=150, examples=1)))
    assert (parsed.broken, parsed.open) == ([], [])
    identifiers = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = [v.lstrip("#") for tag, n, v in parsed.attributes if n == "href" and v[0] == "#"]
    targets += [v for _, n, v in parsed.attributes if n in ("aria-labelledby", "for")]
    assert set(targets) <= set(identifiers)


def test_pictures_and_plots_have_words(make_record: Callable[..., Record]) -> None:
    page = render_html(make_record(examples=2))
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) == 2 * (3 + 2 * 5)
    assert all(re.search(r'alt="[^"]{10,}"', picture) for picture in pictures)
    drawings = re.findall(r"<svg [^>]*>", page)
    assert all(
        'aria-hidden="true"' in d or re.search(r'aria-label="[^"]{20,}"', d) for d in drawings
    )
    heads = re.findall(r"<th[ >][^>]*>", page)
    assert heads
    assert all("scope=" in head for head in heads)


@pytest.mark.parametrize("part", sorted(BARE))
def test_a_record_without_one_part_renders(make_record: Callable[..., Record], part: str) -> None:
    record = with_all(make_record(count=3), **{part: None})
    page = render_html(record)
    assert (Page(page).broken, Page(page).open) == ([], [])
    assert "None" not in page
    assert "nan" not in page
    assert "None" not in render_markdown(record)


@pytest.mark.parametrize(
    ("count", "classes"), [(1, 11), (2, 19), (6, 150), (19, 11)], ids=lambda value: str(value)
)
def test_records_of_any_size_render(
    make_record: Callable[..., Record], count: int, classes: int
) -> None:
    record = make_record(count=count, classes=classes)
    page = render_html(record)
    assert page.count('<th scope="row">') >= count + classes
    assert ("All 150 classes</summary>" in page) == (classes == 150 and count > 1)


def test_a_record_without_any_measured_part_renders(make_record: Callable[..., Record]) -> None:
    record = replace(with_all(make_record(count=2), **BARE), classes=(), palette=())
    page = render_html(record)
    assert 'id="measurements"' in page
    assert all(f'id="{part}"' not in page for part in ("frame", "latency", "classes", "memory"))


def test_one_candidate_without_a_part_shows_dashes(make_record: Callable[..., Record]) -> None:
    record = make_record(count=3)
    items = list(record.measurements)
    items[2] = replace(items[2], **BARE)  # type: ignore[arg-type]  # every value is None
    page = render_html(replace(record, measurements=tuple(items)))
    assert page.count(">–</td>") >= 11
    assert "Without a place here: rewritten-onnxruntime." in page


def test_eight_examples_stay_below_five_megabytes(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write_html(make_record(count=3, examples=8), path)
    assert path.stat().st_size < 5_000_000


def test_a_stored_record_renders_the_same_page(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    record = make_record(examples=1)
    save_record(record, tmp_path / "record.json")
    assert render_html(load_record(tmp_path / "record.json")) == render_html(record)


@pytest.mark.parametrize(
    "uri", ["https://example.org/a.png", "data:image/svg+xml;base64,AAAA", "a.png", "javascript:1"]
)
def test_a_picture_that_is_no_data_uri_is_refused(
    make_record: Callable[..., Record], tmp_path: Path, uri: str
) -> None:
    record = make_record(count=2, examples=1, picture=uri)
    with pytest.raises(InputError, match="data URIs"):
        write_html(record, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_baseline_that_is_not_there_is_refused(make_record: Callable[..., Record]) -> None:
    with pytest.raises(InputError, match="Expected one of"):
        render_html(replace(make_record(), baseline="other"))
