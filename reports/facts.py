"""What stands beside the numbers: protocol, environment and lineage as labelled lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..benchmark.record import Measurement, Record
from ..runtimes.gpu_facts import Gpu
from .format import ABSENT, count, gmacs, plural, shape, short_hash

_TELLING_FLAGS = ("avx", "amx", "fma", "vnni", "neon", "asimd", "sve", "bf16", "i8mm")

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PassLine:
    """One pass of a lineage: its name, how many places it changed, and its notes."""

    name: str
    changed: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ArtifactFacts:
    """One artifact with every measurement made of it; `names` are (key, name)."""

    names: tuple[tuple[int, str], ...]
    facts: Facts
    passes: tuple[PassLine, ...]


def title(record: Record) -> str:
    """Return the record's title, or the data it was measured on where it has none."""
    return record.title or f"Benchmark on {record.protocol.data}"


def protocol_line(record: Record) -> str:
    """Return the protocol in one line, for beside a table."""
    protocol = record.protocol
    return (
        f"{_data(record)}; "
        f"{plural(protocol.threads, 'thread')}, batch {protocol.batch}; {record.environment.cpu}"
    )


def _data(record: Record) -> str:
    protocol = record.protocol
    if not protocol.data:
        return "no data set"
    return f"{protocol.data}, {plural(protocol.images, 'image')}"


def protocol_facts(record: Record) -> Facts:
    """Return how the numbers were made."""
    protocol = record.protocol
    return _written(
        ("data", _data(record) if protocol.data else ""),
        ("data SHA-256", protocol.data_sha256),
        ("evaluation", protocol.evaluation),
        ("latency", protocol.latency_rule),
        ("interval", protocol.bootstrap),
        ("threads", str(protocol.threads)),
        ("batch", str(protocol.batch)),
        ("seed", str(protocol.seed)),
    )


def environment_facts(record: Record) -> Facts:
    """Return the host the numbers belong to."""
    host = record.environment
    flags = [flag for flag in host.cpu_flags if flag.startswith(_TELLING_FLAGS)]
    cores = f"{host.cores_physical} physical, {host.cores_logical} logical"
    return _written(
        ("processor", host.cpu),
        ("instruction sets", ", ".join(flags)),
        ("cores", cores),
        ("memory", f"{host.memory_mib:,} MiB"),
        *_gpu_lines(host.gpu),
        ("system", host.os),
        ("frequency governor", host.governor),
        ("load before the run", f"{host.load_average:.2f}"),
        ("Python", host.python),
        ("libraries", ", ".join(f"{name} {text}" for name, text in sorted(host.libraries.items()))),
        ("commit", host.git_commit),
        ("host", host.host_id),
    )


def _gpu_lines(gpu: Gpu | None) -> Iterator[tuple[str, str]]:
    if gpu is None:
        return
    yield "GPU", f"{gpu.name}, SM {gpu.sm}, {gpu.memory_mib:,.0f} MiB"
    yield "GPU driver", f"{gpu.driver} (CUDA {gpu.driver_cuda}), CUDA runtime {gpu.cuda_runtime}"
    state = (
        ("SM clock", gpu.sm_clock_mhz, "MHz"),
        ("memory clock", gpu.memory_clock_mhz, "MHz"),
        ("power limit", gpu.power_limit_w, "W"),
    )
    told = ", ".join(f"{name} {value:g} {unit}" for name, value, unit in state if value is not None)
    yield "GPU before the run", told


def artifact_facts(record: Record) -> tuple[ArtifactFacts, ...]:
    """Return the artifacts in record order; measurements of one file stand together."""
    grouped: dict[tuple[str, str], list[tuple[int, Measurement]]] = {}
    for key, item in enumerate(record.measurements, 1):
        grouped.setdefault((item.path, item.sha256), []).append((key, item))
    return tuple(
        ArtifactFacts(
            names=tuple((key, item.name) for key, item in items),
            facts=_written(*_artifact_lines(items[0][1])),
            passes=tuple(_passes(items[0][1].lineage)),
        )
        for items in grouped.values()
    )


def _artifact_lines(item: Measurement) -> Iterator[tuple[str, str]]:
    lineage, contract = item.lineage, item.contract
    yield "file", item.path
    yield "SHA-256", item.sha256
    yield "kind", item.kind
    yield "variant", _text(lineage.get("variant"))
    yield "size", f"{count(item.parameters)} parameters, {gmacs(item.gmacs)} GMACs"
    yield "input", f"{shape(item.input_shape)} {_text(contract.get('input'))}"
    yield "preprocessing", _words(contract, "resize", "resample", "channel_order")
    yield "output", _words(contract, "output")
    yield "checkpoint", _text(lineage.get("source"))
    yield "checkpoint SHA-256", short_hash(_text(lineage.get("source_sha256")))
    yield "flavour", _text(lineage.get("flavour"))
    yield "licence", _text(lineage.get("licence_note"))
    tools = lineage.get("tool_versions") or {}
    yield "made with", ", ".join(f"{name} {_text(tools[name])}" for name in sorted(tools))


def _passes(lineage: Mapping[str, Any]) -> Iterator[PassLine]:
    for note in lineage.get("passes") or ():
        changed = note.get("changed", 0)
        text = f"{plural(changed, 'place')} changed" if changed else "did not apply"
        lines = tuple(_text(line) for line in note.get("notes") or ())
        yield PassLine(_text(note.get("name")), text, lines)


def _words(contract: Mapping[str, Any], *names: str) -> str:
    return ", ".join(text for text in (_text(contract.get(name)) for name in names) if text)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value.value if isinstance(value, Enum) else value)


def _written(*lines: tuple[str, str]) -> Facts:
    """Keep the lines that say something."""
    return tuple((label, text) for label, text in lines if text.strip() not in ("", ABSENT))
