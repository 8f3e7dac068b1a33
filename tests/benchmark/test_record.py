"""A record survives its JSON, and what is no record is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segship.benchmark.environment import read_environment
from segship.benchmark.image_counts import ImageCounts, pack_counts, unpack_counts, unpack_same
from segship.benchmark.integrity import digest_of
from segship.benchmark.record import (
    Accuracy,
    ColdStart,
    DepthAccuracy,
    DeviceTimes,
    Drop,
    Example,
    Frame,
    Measurement,
    Memory,
    Protocol,
    Record,
    load_record,
    save_record,
)
from segship.benchmark.samples import summarise
from segship.common.errors import InputError
from segship.runtimes.gpu_facts import Gpu

GPU = Gpu("NVIDIA T4", "7.5", 15360, "550.54", "12.4", "12.9", 1590, None, 70.0)


def full_record() -> Record:
    times = summarise([1.0, 2.0, 3.0], [9.0])
    accuracy = Accuracy(
        images=2,
        miou=0.5,
        iou=(0.5, None),
        pixel_accuracy=0.75,
        confusion=((3, 1), (0, 0)),
        drop=Drop(0.01, -0.02, 0.03, 0.95, 1000),
        pixel_agreement=0.99,
        iou_drop=(0.0, None),
        excluded=(1,),
        levels={"per image": 0.4, "per batch of 8": None},
        class_accuracy=(0.75, None),
        mean_accuracy=0.75,
        f1=(0.8, None),
        mean_f1=0.8,
        counts=pack_counts([np.array([[3, 4, 3], [0, 0, 1]])] * 2, [3, 4]),
    )
    depth = DepthAccuracy(9, 0.1, 0.2, 0.3, 0.4, 0.9, 0.95, 1.0, 1, {"mae": -0.1})
    measurement = Measurement(
        name="plain · onnxruntime fp32",
        path="plain.onnx",
        sha256="0" * 64,
        kind="onnx",
        runtime="onnxruntime",
        precision="fp32",
        threads=2,
        batch=1,
        input_shape=(1, 3, 64, 96),
        parameters=12,
        gmacs=None,
        contract={"size_px": [64, 96], "classes": ["a", "b"]},
        lineage={"passes": [{"name": "head-fold", "changed": 1, "notes": []}]},
        accuracy=accuracy,
        latency=times,
        speedup=1.0,
        frame=Frame("x.png", "sparse", times, times, times, times, times),
        memory=Memory(100.0, 50.0, 3.5, 40.0, {"engine": 30.0, "buffers": 10.0}, (99.0, 100.0)),
        cold_start=ColdStart(1.0, 2.0, 3.0),
        depth=depth,
        warnings=("Latency spreads.",),
        device_times=DeviceTimes(times, summarise([0.5]), times),
    )
    return Record(
        created="2025-01-01T00:00:00+00:00",
        command="segship benchmark plain.onnx",
        segship_version="0.1.0",
        environment=replace(read_environment(), gpu=GPU),
        protocol=Protocol("scenes:2", 2, "ab", "whole image", 1, 2, "rounds", "poisson"),
        baseline=measurement.name,
        measurements=(measurement,),
        classes=("a", "b"),
        palette=((0, 0, 0), (255, 255, 255)),
        examples=(Example("x", "data:", "data:", {"m": "data:"}, {}, {"m": 0.5}),),
    )


def test_round_trip_is_equal_to_the_last_field(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    assert load_record(path) == full_record()
    assert [item.name for item in tmp_path.iterdir()] == ["r.json"]


def test_a_record_of_before_depth_and_levels_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    values = json.loads(path.read_text())
    values.pop("digest")
    (item,) = values["measurements"]
    item.pop("depth")
    for name in (
        "excluded",
        "levels",
        "class_accuracy",
        "mean_accuracy",
        "f1",
        "mean_f1",
        "counts",
    ):
        item["accuracy"].pop(name)
    path.write_text(json.dumps(values))
    found = load_record(path).measurements[0]
    assert found.depth is None and found.accuracy is not None
    assert (found.accuracy.levels, found.accuracy.excluded) == ({}, ())
    assert (found.accuracy.mean_f1, found.accuracy.miou) == (None, 0.5)


def test_a_record_of_before_gpus_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    values = json.loads(path.read_text())
    values.pop("digest")
    values["environment"].pop("gpu")
    (item,) = values["measurements"]
    item.pop("device_times")
    for name in ("device_mib", "device_parts_mib", "peaks_mib"):
        item["memory"].pop(name)
    path.write_text(json.dumps(values))
    found = load_record(path)
    assert found.environment.gpu is None and found.measurements[0].device_times is None
    assert found.measurements[0].memory == Memory(100.0, 50.0, 3.5)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    values = json.loads(path.read_text())
    values["schema_version"] = 99
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="schema 1, but .*r.json has 99"):
        load_record(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values.pop("environment"),
        lambda values: values.update(surprise=1),
        lambda values: values["measurements"][0].pop("sha256"),
        lambda values: values["palette"][0].append(4),
        lambda values: values["measurements"][0].update(accuracy=5),
        lambda values: values["measurements"][0]["accuracy"].update(levels=[0.5]),
        lambda values: values["measurements"][0]["accuracy"].update(levels={"image": "high"}),
        lambda values: values["measurements"][0]["accuracy"].update(excluded=["road"]),
        lambda values: values["measurements"][0]["depth"].pop("rmse"),
        lambda values: values["measurements"][0]["depth"].update(rmse=None),
        lambda values: values["measurements"][0]["depth"].update(surprise=1),
        lambda values: values["measurements"][0]["device_times"].pop("compute"),
        lambda values: values["measurements"][0]["memory"].update(device_mib="much"),
        lambda values: values["environment"]["gpu"].pop("sm"),
        lambda values: values["measurements"][0]["accuracy"]["counts"].pop("images"),
        lambda values: values["measurements"][0]["memory"].update(peaks_mib=["x"]),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(damage: object, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    values = json.loads(path.read_text())
    values.pop("digest")
    damage(values)  # type: ignore[operator]  # a lambda of the parametrisation
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"r\.json") as caught:
        load_record(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"', "\x00\xff"])
def test_what_is_no_record_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(InputError, match="segship record"):
        load_record(path)


def test_nan_never_reaches_the_file(tmp_path: Path) -> None:
    record = full_record()
    broken = Record(**{**record.__dict__, "environment": record.environment, "title": "t"})
    object.__setattr__(broken.measurements[0], "gmacs", float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        save_record(broken, tmp_path / "r.json")
    assert not list(tmp_path.iterdir())


def test_unknown_measurement_is_named() -> None:
    with pytest.raises(InputError, match="plain · onnxruntime fp32, but got 'x'"):
        full_record().measurement("x")


EDITS = [
    lambda values: values["measurements"][0]["accuracy"].update(miou=0.6),
    lambda values: values["measurements"][0]["latency"]["samples_ms"].append(0.1),
    lambda values: values["measurements"][0].update(name="another"),
    lambda values: values.update(title="mine"),
    lambda values: values.update(digest="0" * 64),
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_record_is_refused(edit: object, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    values = json.loads(path.read_text())
    edit(values)  # type: ignore[operator]  # a lambda of the parametrisation
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"r\.json was changed since") as caught:
        load_record(path)
    assert "\n" not in str(caught.value)


def test_another_layout_of_the_same_values_is_no_edit(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    values = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(values.items())), indent=4))
    assert load_record(path) == full_record()
    assert load_record(path).digest == values["digest"] == digest_of(values)


def test_a_truncated_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="segship record in JSON"):
        load_record(path)


@pytest.mark.parametrize("text", ["", "?", "QUJD", "eJwDAAAAAAE="])
def test_damaged_counts_are_refused(text: str) -> None:
    for read in (unpack_counts, unpack_same):
        with pytest.raises(InputError, match="damaged"):
            read(ImageCounts(2, 3, text, text))


def _measured(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = values["measurements"][0]
    return found


IMPOSSIBLE: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("segship record in JSON", lambda it: _measured(it)["memory"].update(file_mib=float("nan"))),
    ("segship record in JSON", lambda it: _measured(it)["memory"].update(file_mib=float("inf"))),
    ("segship record in JSON", lambda it: _measured(it)["contract"].update(mean=float("nan"))),
    ("segship record in JSON", lambda it: it.update(title="half \ud800")),
    ("too large", lambda it: _measured(it)["memory"].update(file_mib=10**400)),
    ("too large", lambda it: _measured(it).update(parameters=2**63)),
    ("less than no memory", lambda it: _measured(it)["memory"].update(file_mib=-1.0)),
    ("less than no memory", lambda it: _measured(it)["memory"].update(peaks_mib=[5.0, -1.0])),
    ("no square", lambda it: _measured(it)["accuracy"].update(confusion=[[1, 2], [3]])),
    ("no square", lambda it: _measured(it)["accuracy"].update(confusion=[[1, -2], [3, 4]])),
    ("no list of passes", lambda it: _measured(it)["lineage"].update(passes=3)),
    ("no measurement", lambda it: it.update(measurements=[])),
    ("its baseline 'z' is no", lambda it: it.update(baseline="z")),
    ("two measurements are", lambda it: it["measurements"].append(_measured(it))),
]


@pytest.mark.parametrize(("says", "change"), IMPOSSIBLE)
def test_what_no_run_measures_is_refused(
    says: str, change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    save_record(full_record(), path)
    values = json.loads(path.read_text())
    del values["digest"]  # as if it had been recorded so
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=says) as caught:
        load_record(path)
    assert "\n" not in str(caught.value)


def test_brackets_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"schema_version": 1, "x": ' + "[" * 100_000)
    with pytest.raises(InputError, match="segship record in JSON"):
        load_record(path)
