"""`segship report`: outputs are refused before any is written, and never onto what is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from segship.benchmark.record import Record, save_record
from segship.cli import segship


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(segship, ["report", *(str(item) for item in arguments)])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    ("says", "arguments"),
    [
        ("create it", "r.json -o out.html --table no/t.md"),
        (".md, .tex or .csv", "r.json -o out.html --table t.txt"),
        (".png or .csv", "r.json -o out.html --confusion t.txt"),
        ("one record for confusion", "r.json s.json -o out.html --confusion t.png"),
        ("expected scored labels", "bare.json -o out.html --table t.md --confusion t.png"),
        ("different data sets", "r.json other.json -o out.html --table t.md"),
        ("one record for markdown", "r.json s.json -o out.md --table t.md"),
        ("for both", "r.csv -o out.html --table r.csv"),
        ("twice", "r.json -o out.md --table out.md"),
        ("0<=x<=100", "r.json -o out.html --max-miou-drop inf"),
        ("0 to 100 points", "r.json -o out.html --max-miou-drop nan"),
        ("-o file.html", "r.json --table t.csv --network r.json"),
        ("-o file.html", "r.json -o out.md --max-miou-drop 1"),
        ("-o file.html", "r.json --table t.csv --attention r.json --photo r.json"),
    ],
)
def test_refused_before_anything_is_written(
    says: str,
    arguments: str,
    make_record: Callable[..., Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    record = make_record(count=2)
    data = replace(record.protocol, data_sha256="f" * 64)
    bare = tuple(replace(item, accuracy=None) for item in record.measurements)
    for name in ("r.json", "s.json", "r.csv"):
        save_record(record, Path(name))
    save_record(replace(record, protocol=data), Path("other.json"))
    save_record(replace(record, measurements=bare), Path("bare.json"))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert says in refused(*arguments.split()).lower()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_measurement_goes_to_a_file_for_each_form(tmp_path: Path) -> None:
    same = str(tmp_path / "same.csv")
    command = ["evaluate", "none.onnx", "--data", "scenes:1", "--json", same, "--table", same]
    result = CliRunner().invoke(segship, command)
    assert result.exit_code == 2 and "same.csv twice" in result.stderr
    assert not list(tmp_path.iterdir())
