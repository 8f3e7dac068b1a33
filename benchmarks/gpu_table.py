"""The tables of gpu_check.py as Markdown: latency, memory, roofline, accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LARGEST_PARTS = 8


def markdown(content: dict[str, Any]) -> str:
    """Return the whole page for the content gpu_check.py keeps as JSON."""
    target = content["target"]
    lines = [f"# {target['name']}", ""]
    if target["rehearsed"]:
        lines += ["**A rehearsal on a CPU: these numbers say nothing about a GPU.**", ""]
    lines += [f"`{content['command']}`; {_versions(content)}.", ""]
    for row in content["rows"]:
        lines += [f"## {row['variant']}, {row['size_px'][0]}×{row['size_px'][1]}, batch 1", ""]
        lines += [*_latency(row), "", *_roofline(row)]
    lines += ["## Accuracy of the demo model on the shipped scenes", ""]
    return "\n".join([*lines, *_accuracy(content["accuracy"])]) + "\n"


def _versions(content: dict[str, Any]) -> str:
    environment = content["accuracy"]["environment"]
    facts = content["target"]["facts"]
    device = {name: facts["device"][name] for name in ("sm", "driver", "runtime") if facts}
    found = {**environment["libraries"], "tensorrt": facts.get("tensorrt", "none"), **device}
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def _latency(row: dict[str, Any]) -> Iterable[str]:
    """One line per candidate; the ratio is to the plain graph of the same precision."""
    yield "| what | median ms | p99 ms | plain / this | device ms | device MiB | floor ms | of it |"
    yield "|---|---|---|---|---|---|---|---|"
    times = {item["name"]: item["latency"]["median_ms"] for item in row["record"]["measurements"]}
    for item in row["record"]["measurements"]:
        name, latency = item["name"], item["latency"]
        graph, _, precision = name.partition(" ")
        plain = times.get(f"plain {precision}")
        ratio = f"{plain / latency['median_ms']:.2f}" if plain and graph == "rewritten" else ""
        floor = sum(part["floor_us"] for part in row["floors"].get(name, ())) / 1e3
        device = _device_ms(item)
        share = f"{100 * floor / (device or latency['median_ms']):.0f} %" if floor else ""
        yield (
            f"| {name} | {latency['median_ms']:.3f} | {latency['p99_ms']:.3f} | {ratio} | "
            f"{_number(device)} | {_number(_device_mib(item), 0)} | "
            f"{_number(floor or None)} | {share} |"
        )


def _roofline(row: dict[str, Any]) -> Iterable[str]:
    """The parts whose floor is highest, in the rewritten FP16 graph."""
    parts = row["floors"].get("rewritten fp16", [])
    total = sum(part["floor_us"] for part in parts)
    if not total:
        yield "No roofline: this device's peaks are not in profiles/devices."
        yield ""
        return
    yield "| part (rewritten fp16) | GMACs | MiB moved | floor µs | share | bound by |"
    yield "|---|---|---|---|---|---|"
    for part in sorted(parts, key=lambda item: -item["floor_us"])[:LARGEST_PARTS]:
        memory = part["memory_us"] >= (part["compute_us"] or 0)
        yield (
            f"| {part['part']} | {part['gmacs']:.3f} | {part['moved_mib']:.2f} | "
            f"{part['floor_us']:.2f} | {100 * part['floor_us'] / total:.0f} % | "
            f"{'memory' if memory else 'arithmetic'} |"
        )
    yield ""


def _accuracy(record: dict[str, Any]) -> Iterable[str]:
    yield "| file | mIoU % | drop, points | labels equal % |"
    yield "|---|---|---|---|"
    for item in record["measurements"]:
        found = item["accuracy"]
        drop = found["drop"]["miou"] if found["drop"] else None
        same = found["pixel_agreement"]
        yield (
            f"| {item['name']} | {100 * found['miou']:.2f} | "
            f"{'' if drop is None else f'{100 * drop:.2f}'} | "
            f"{'' if same is None else f'{100 * same:.3f}'} |"
        )


def _device_ms(item: dict[str, Any]) -> float | None:
    found = (item.get("device_times") or {}).get("compute")
    return found["median_ms"] if found else None


def _device_mib(item: dict[str, Any]) -> float | None:
    return (item.get("memory") or {}).get("device_mib")


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
