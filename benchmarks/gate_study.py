"""How often does the gate cry wolf, and does it see a wolf? Resampled from real records.

    python benchmarks/gate_study.py benchmarks/results/gate-runs.json --json FILE
    python benchmarks/gate_study.py --collect FOLDER -o benchmarks/results/gate-runs.json

The material is made by `benchmarks/gate_records.py` (several --collect may follow each other).
Every gate gets records drawn anew: whole rounds of a real run of one file beside itself, the sides
swapped at random; peaks of fresh processes; images. The seed fixes everything. What is injected:
times and peaks times 1.10; of the fall from the model to a worse one as much as costs 1.0 point.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from segship.benchmark.gate.compare import gate
from segship.benchmark.gate.policy import DEFAULT, PERCENT, Budget, Policy
from segship.benchmark.record import Record, load_record
from segship.benchmarks.gate_material import (
    Floats,
    Material,
    Worse,
    draw_pair,
    injected,
    load_material,
    made_record,
)
from segship.common.files import write_text

MEDIAN = Policy((Budget("latency_median", 5.0, PERCENT),), source="median within 5 %")
TAIL = Policy((Budget("latency_p99", 30.0, PERCENT),), source="p99 within 30 %")
Tally = dict[str, Counter[str]]


def gates(
    material: Material,
    data: str,
    worse: Worse,
    count: int,
    *,
    policy: Policy = DEFAULT,
    machine: str = "idle",
    seed: int = 0,
) -> Tally:
    """Run `count` gates; return per check how often it ended in which status ("gate": all)."""
    rng = np.random.default_rng(seed)
    counts = material.counts[data]
    if not worse.swap:
        counts = injected(counts, worse.points) if worse.points else counts[[0, 0]]
    found: Tally = {"gate": Counter()}
    for _ in range(count):
        runs = material.times_ms[machine]
        times = runs[rng.integers(len(runs))]
        result = gate([draw_pair(material, times, counts, worse, rng)], policy=policy)
        found["gate"][result.status.value] += 1
        for check in result.checks:
            found.setdefault(check.quantity, Counter())[check.status.value] += 1
    return found


# words, what is injected, idle machine, which check is read ("gate": any)
ROWS = (
    ("a model against itself", Worse(), "gate"),
    ("two models, swapped image by image", Worse(swap=True), "gate"),
    ("−1.0 point of mIoU", Worse(points=1.0), "miou"),
    ("+10 % latency", Worse(time=1.1), "latency_median"),
    ("+10 % memory", Worse(memory=1.1), "memory"),
)


def study(material: Material, count: int, losses: int, seed: int) -> list[dict[str, Any]]:
    """Return the rows of the table: `count` gates where nothing is lost, `losses` of each loss."""
    rows = []
    for data in material.counts:
        for words, worse, read in ROWS:
            total = count if read == "gate" else losses
            for machine in ("idle", "busy"):
                if machine == "busy" and read in ("miou", "memory"):
                    continue  # nothing of them is timed
                found = gates(material, data, worse, total, machine=machine, seed=seed)
                rows.append(_row(words, data, machine, "default", total, found[read]))
    first = next(iter(material.counts))
    for machine in ("idle", "busy"):
        for words, factor in (("itself", 1.0), ("+10 %", 1.1), ("+50 %", 1.5)):
            total = count if factor == 1 else losses
            worse = Worse(time=factor)
            found = gates(material, first, worse, total, policy=TAIL, machine=machine, seed=seed)
            rows.append(_row(f"p99: {words}", "–", machine, TAIL.source, total, found["gate"]))
        for words, factor, total in (("itself", 1.0, count), ("+10 %", 1.1, losses)):
            by_runs, by_numbers = apart(material.times_ms[machine], factor, total, seed)
            what = f"5 and 3 runs apart: {words}"
            rows.append(_row(what, "–", machine, MEDIAN.source, total, by_runs))
            what = f"one number each, apart: {words}"
            rows.append(_row(what, "–", machine, "more than 5 %", total, by_numbers))
    return rows


def apart(
    runs: Sequence[Floats], factor: float, count: int, seed: int
) -> tuple[Counter[str], Counter[str]]:
    """Gate runs that were made apart; and count what comparing two of their medians would say."""
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    naive: Counter[str] = Counter()
    for _ in range(count):
        chosen = rng.permutation(len(runs))[:8]
        times = [runs[run][rng.integers(2)] for run in chosen]
        records = [_alone(it * (factor if k > 4 else 1)) for k, it in enumerate(times)]
        found[gate(records[5:], records[:5], MEDIAN).status.value] += 1
        ratio = factor * np.median(times[5]) / np.median(times[0])
        naive["fail" if ratio > 1.05 else "pass"] += 1
    return found, naive


def _alone(times_ms: Floats) -> Record:
    """Return a record of the candidate alone, with times (N,)."""
    counts = np.ones((2, 1, 2, 3))
    record = made_record(np.stack([times_ms, times_ms]), np.full((2, 3), 1.0), counts)
    return replace(record, measurements=record.measurements[1:], baseline="candidate")


def _row(
    words: str, data: str, machine: str, policy: str, total: int, tally: Counter[str]
) -> dict[str, Any]:
    values = {"what": words, "data": data, "machine": machine, "policy": policy, "gates": total}
    return values | {"failed": tally["fail"] + tally["cannot compare"], "warned": tally["warn"]}


@click.command()
@click.argument("material", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--gates", "count", default=200, show_default=True, help="Of a model and itself.")
@click.option("--injected", "losses", default=100, show_default=True, help="Of every loss.")
@click.option("--seed", default=0, show_default=True, help="Of every draw.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Keep the table.")
@click.option(
    "--collect",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Make material of a folder of records instead (repeatable).",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Material file to write.")
def main(
    material: Path | None,
    count: int,
    losses: int,
    seed: int,
    json_path: Path | None,
    folders: tuple[Path, ...],
    out: Path | None,
) -> None:
    """Print the table of the study, or collect its material."""
    if folders and out:
        write_text(out, json.dumps(collect(folders)) + "\n")
        return
    if material is None:
        raise click.UsageError("Expected the material, or --collect FOLDER -o FILE.")
    rows = study(load_material(material), count, losses, seed)
    for row in rows:
        click.echo("{what:36}{data:8}{machine:6}{failed:4} of {gates} failed, {warned:3} warned"
                   .format(**row))  # fmt: skip  # one line
    if json_path:
        write_text(json_path, json.dumps({"seed": seed, "rows": rows}, indent=1) + "\n")


def collect(folders: tuple[Path, ...]) -> dict[str, Any]:
    """Return the numbers of the folders' records; the last accuracy of a data set counts."""
    values: dict[str, Any] = {"runs": [], "counts": {}}
    for folder in folders:
        _collect(folder, values)
    return values


def _collect(folder: Path, values: dict[str, Any]) -> None:
    for file in sorted(folder.glob("run-*.json")):
        record = load_record(file)
        items = [item for item in record.measurements if item.latency and item.memory]
        values["runs"].append(
            {
                "created": record.created,
                "host": record.environment.host_id,
                "warnings": record.warnings,
                "samples_ms": [it.latency.samples_ms for it in items if it.latency],
                "peaks_mib": [it.memory.peaks_mib for it in items if it.memory],
            }
        )
    record = load_record(folder / "accuracy.json")
    packed = [it.accuracy.counts for it in record.measurements if it.accuracy]
    values["counts"][record.protocol.data.partition(":")[0]] = [
        {"images": it.images, "classes": it.classes, "counts": it.counts} for it in packed if it
    ]


if __name__ == "__main__":
    main()
