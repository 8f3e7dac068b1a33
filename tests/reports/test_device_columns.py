"""A GPU's own times and memory in every report, and nothing of them without one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from segship.benchmark.record import DeviceTimes, Measurement, Memory, Record
from segship.benchmark.samples import summarise
from segship.reports.columns import groups, tables
from segship.reports.facts import environment_facts
from segship.reports.html import render_html
from segship.reports.markdown import render_markdown
from segship.reports.table import print_record
from segship.runtimes.gpu_facts import Gpu

GPU = Gpu("NVIDIA T4", "7.5", 15360, "550.54", "12.4", "12.9", 1590, None, 70.0)


def _on_gpu(record: Record) -> Record:
    first, second = record.measurements
    assert second.memory
    times = DeviceTimes(summarise([0.31]), summarise([2.47]), summarise([0.19]))
    memory = Memory(second.memory.peak_mib, second.memory.before_mib, 14.1, 417.0, {"engine": 9.0})
    second = replace(second, runtime="tensorrt", device_times=times, memory=memory)
    environment = replace(record.environment, gpu=GPU)
    return replace(record, measurements=(first, second), environment=environment)


def _device(record: Record) -> dict[str, Callable[[Measurement], str]]:
    (found,) = [group for group in groups(record) if group.heading == "Device"]
    return {column.heading: column.text for column in found.columns}


def test_a_record_of_a_cpu_has_no_device(make_record: Callable[..., Record]) -> None:
    record = make_record(count=2)
    assert "Device" not in [group.heading for group in groups(record)]
    assert not any("GPU" in label for label, _ in environment_facts(record))


def test_a_gpu_has_a_table_of_its_own(make_record: Callable[..., Record]) -> None:
    record = _on_gpu(make_record(count=2))
    cpu, gpu = record.measurements
    shown = _device(record)
    assert {name: text(gpu) for name, text in shown.items()} == {
        "device compute": "2.47",
        "to device": "0.31",
        "from device": "0.19",
        "device memory": "417",
    }
    assert {text(cpu) for text in shown.values()} == {"–"}
    assert [group.heading for group in tables(record)[-1]] == ["Artifact", "Device"]


def test_every_format_shows_the_device(make_record: Callable[..., Record]) -> None:
    record = _on_gpu(make_record(count=2))
    console = Console(width=120, file=io.StringIO(), no_color=True)
    print_record(record, console)
    assert isinstance(console.file, io.StringIO)
    for text in (render_markdown(record), render_html(record), console.file.getvalue()):
        assert "2.47" in text and "417" in text and "device compute" in text
    for text in (render_markdown(record), render_html(record)):
        assert "NVIDIA T4, SM 7.5, 15,360 MiB" in text


def test_the_gpu_is_among_the_facts_and_what_is_unknown_is_not(
    make_record: Callable[..., Record],
) -> None:
    facts = dict(environment_facts(_on_gpu(make_record(count=2))))
    assert facts["GPU driver"] == "550.54 (CUDA 12.4), CUDA runtime 12.9"
    assert facts["GPU before the run"] == "SM clock 1590 MHz, power limit 70 W"
