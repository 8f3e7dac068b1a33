"""The comparison table: the record's numbers in three formats, and what it refuses to mix."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from segship.benchmark.record import Record, save_record
from segship.cli import segship
from segship.common.errors import InputError
from segship.reports.model_table import write_model_table
from segship.tests.reports.conftest import build_record


def written(path: Path, *records: Record) -> str:
    write_model_table(records, path)
    return path.read_text()


def test_csv_keeps_the_numbers_whole(tmp_path: Path) -> None:
    record = build_record(count=3)
    rows = list(csv.DictReader(written(tmp_path / "t.csv", record).splitlines()))
    assert [row["model"] for row in rows] == [item.name for item in record.measurements]
    first = record.measurements[0]
    assert first.accuracy and first.latency and first.memory
    assert float(rows[0]["mIoU %"]) == first.accuracy.miou * 100
    assert float(rows[0]["latency ms"]) == first.latency.median_ms
    assert float(rows[0]["weights MiB"]) == first.memory.file_mib
    assert float(rows[0]["memory MiB"]) == first.memory.peak_mib
    assert (rows[0]["parameters"], rows[0]["GMACs"]) == ("3716971", "8.42")


def test_markdown_has_the_units_and_the_protocol(tmp_path: Path) -> None:
    lines = written(tmp_path / "t.md", build_record(count=2)).splitlines()
    assert lines[0] == (
        "| model | runtime | mIoU % | weights MiB | parameters | GMACs | latency ms | memory MiB |"
    )
    assert lines[2].startswith("| plain-onnxruntime | onnxruntime fp32 | ")
    assert lines[2].endswith("| 14.3 | 3.72 M | 8.42 | 80.2 | 242 |")
    assert "101 images; input 1x3x512x512; median latency, 2 threads" in lines[-1]


def test_latex_escapes_and_closes(tmp_path: Path) -> None:
    record = build_record(count=1)
    item = replace(record.measurements[0], name="a_b & 50%")
    text = written(tmp_path / "t.tex", replace(record, measurements=(item,), baseline=item.name))
    assert r"a\_b \& 50\% & onnxruntime fp32 & " in text
    assert r"mIoU \%" in text
    assert r"\begin{tabular}{llrrrrrr}" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in body} == {7}
    assert text.rstrip().endswith(r"\end{tabular}")


def test_a_line_break_leaves_no_latex_comment_or_row(tmp_path: Path) -> None:
    record = build_record(count=1)
    item = replace(record.measurements[0], name="a\n\\input{x}")
    data = replace(record.protocol, data="folder:x\n\\input{y}")
    changed = replace(record, measurements=(item,), baseline=item.name, protocol=data)
    lines = written(tmp_path / "t.tex", changed).splitlines()
    assert lines[0].startswith("% ") and r"\input{y}" in lines[0]
    assert not [line for line in lines if line.startswith(r"\input")]


def test_columns_nobody_measured_are_left_out(tmp_path: Path) -> None:
    record = build_record(count=2)
    items = tuple(replace(i, latency=None, memory=None) for i in record.measurements)
    text = written(tmp_path / "t.csv", replace(record, measurements=items))
    assert text.splitlines()[0] == "model,runtime,mIoU %,parameters,GMACs"


def test_records_of_one_setting_share_a_table_others_do_not(tmp_path: Path) -> None:
    record = build_record(count=1)
    assert len(written(tmp_path / "t.csv", record, record).splitlines()) == 3
    host = replace(record, environment=replace(record.environment, host_id="other"))
    data = replace(record, protocol=replace(record.protocol, data_sha256="e" * 64))
    rule, size = (
        replace(record, protocol=replace(record.protocol, evaluation=text))
        for text in ("windows", record.protocol.evaluation.replace("512x512", "64x96"))
    )
    assert size.protocol != record.protocol and written(tmp_path / "t.csv", record, size)
    found = ((host, "hosts"), (data, "data sets"), (rule, "evaluation protocols"))
    for other, word in found:
        with pytest.raises(InputError, match=f"different {word}"):
            written(tmp_path / "u.csv", record, other)
    assert not (tmp_path / "u.csv").exists()


def test_the_report_command_writes_it(tmp_path: Path) -> None:
    from click.testing import CliRunner

    save_record(build_record(count=2), tmp_path / "r.json")
    record, table = str(tmp_path / "r.json"), str(tmp_path / "t.tex")
    result = CliRunner().invoke(segship, ["report", record, "--table", table])
    assert result.exit_code == 0, result.output
    assert "toprule" in Path(table).read_text()
    confusion = str(tmp_path / "c.csv")
    assert CliRunner().invoke(segship, ["report", record, "--confusion", confusion]).exit_code == 0
    assert Path(confusion).read_text().startswith("artifact,truth,sky,")
    wrong = CliRunner().invoke(segship, ["report", record, "--table", "t.xls"])
    assert wrong.exit_code == 2
    assert CliRunner().invoke(segship, ["report", record]).exit_code == 2
