"""A record in MLflow: one run for the record, one below it per measurement.

MLflow is imported where its address is given, and nowhere else. Its own telemetry is switched off
unless the environment says otherwise.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..benchmark.record import Measurement, Record
from ..common.errors import InputError, MissingDependencyError
from .classes import class_name
from .facts import title
from .format import shorten

EXPERIMENT = "segship"
_LONGEST = 500  # characters of a parameter: every MLflow store takes them
_UNFIT = re.compile(r"[^\w\-. /]")
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # who names a folder wants one
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # 7 would be minutes of silence
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
}


def check_tracker(uri: str | None) -> None:
    """Refuse a tracker that cannot be reached, before minutes of work.

    Raises:
        InputError: there is no tracker at `uri`.
        MissingDependencyError: MLflow is not installed.
    """
    if uri is not None:
        _Tracker(uri).experiment()


def log_record(record: Record, uri: str, files: Sequence[Path] = ()) -> str:
    """Log `record` and the `files` written from it; return the number of its run.

    Args:
        record: what was measured.
        uri: an MLflow server (http://…), a database (sqlite:///…) or a folder.
        files: reports, tables and pictures to keep with the run.

    Raises:
        InputError: MLflow refuses, or cannot be reached.
        MissingDependencyError: it is not installed.
    """
    tracker = _Tracker(uri)
    run = tracker.start(title(record), {})
    try:
        tracker.log(run, record_params(record), {})
        tracker.keep(run, record, files)
        for item in record.measurements:
            child = tracker.start(item.name, {"mlflow.parentRunId": run})
            tracker.log(child, measurement_params(item), measurement_metrics(record, item))
            tracker.end(child, "FINISHED")
    except BaseException:
        tracker.end(run, "FAILED")
        raise
    tracker.end(run, "FINISHED")
    return run


def record_params(record: Record) -> dict[str, str]:
    """Return protocol and environment as names and texts."""
    host = asdict(record.environment)
    libraries = host.pop("libraries")
    host.pop("gpu")
    values = {
        "command": record.command,
        "segship": record.segship_version,
        "baseline": record.baseline,
        **{f"protocol.{name}": value for name, value in asdict(record.protocol).items()},
        **{f"host.{name}": value for name, value in host.items()},
        **{f"library.{name}": value for name, value in libraries.items()},
    }
    return _texts(values)


def measurement_params(item: Measurement) -> dict[str, str]:
    """Return what was measured as names and texts."""
    names = "path sha256 kind runtime precision threads batch input_shape parameters".split()
    values = {name: getattr(item, name) for name in names}
    return _texts({**values, **{f"contract.{k}": v for k, v in item.contract.items()}})


def measurement_metrics(record: Record, item: Measurement) -> dict[str, float]:
    """Return every number a tracker can plot, by a name with its unit; IoUs are fractions of 1."""
    found = {**_accuracy(record, item), **dict(_times(item))}
    if item.gmacs is not None:
        found["gmacs"] = item.gmacs
    if item.memory:
        found["memory_peak_mib"] = item.memory.peak_mib
        found["file_mib"] = item.memory.file_mib
    if item.depth:
        depth = asdict(item.depth)
        found |= {f"depth/{k}": v for k, v in depth.items() if isinstance(v, float)}
    for damage in item.corruptions:
        found[f"miou_damaged/{damage.kind} {damage.strength:g}"] = damage.miou
    pairs = ((_UNFIT.sub("_", name), value) for name, value in found.items() if value is not None)
    return {name: float(value) for name, value in pairs if math.isfinite(value)}


def _accuracy(record: Record, item: Measurement) -> dict[str, float | None]:
    accuracy = item.accuracy
    if accuracy is None:
        return {}
    found: dict[str, float | None] = {
        "miou": accuracy.miou,
        "pixel_accuracy": accuracy.pixel_accuracy,
        "pixel_agreement": accuracy.pixel_agreement,
        "mean_f1": accuracy.mean_f1,
        "boundary_f": accuracy.boundary.mean if accuracy.boundary else None,
    }
    if accuracy.drop:
        drop = accuracy.drop
        found |= {"miou_drop": drop.miou, "miou_drop_low": drop.low, "miou_drop_high": drop.high}
    for index, value in enumerate(accuracy.iou):
        found[f"iou/{class_name(record, index)}"] = value
    return found


def _times(item: Measurement) -> Iterator[tuple[str, float | None]]:
    """Yield the summary of every clock."""
    if item.latency:
        for name in ("median_ms", "p90_ms", "p99_ms"):
            yield f"latency_{name}", getattr(item.latency, name)
    if item.frame:
        yield "frame_median_ms", item.frame.total.median_ms
    yield "speedup", item.speedup


class _Tracker:
    """The few calls of MLflow's client that are used, its errors as ours."""

    def __init__(self, uri: str) -> None:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        try:
            self._mlflow = importlib.import_module("mlflow")
        except ImportError as error:
            raise MissingDependencyError(
                "Expected MLflow for --mlflow, but it is not installed: pip install mlflow-skinny."
            ) from error
        self._uri = uri
        self._client = self._call(self._mlflow.MlflowClient, tracking_uri=uri)

    def experiment(self) -> str:
        """Return the number of the experiment, made where there is none."""
        found = self._call(self._client.get_experiment_by_name, EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        return str(self._call(self._client.create_experiment, EXPERIMENT))

    def start(self, name: str, tags: Mapping[str, str]) -> str:
        """Open a run and return its number."""
        run = self._call(self._client.create_run, self.experiment(), run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def log(self, run: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Log texts and numbers."""
        entities = importlib.import_module("mlflow.entities")
        now_ms = int(time.time() * 1000)
        self._call(
            self._client.log_batch,
            run,
            params=[entities.Param(name, value) for name, value in params.items()],
            metrics=[entities.Metric(name, v, now_ms, 0) for name, v in metrics.items()],
        )

    def keep(self, run: str, record: Record, files: Sequence[Path]) -> None:
        """Store the record and files with the run."""
        values = json.loads(json.dumps(asdict(record)))
        self._call(self._client.log_dict, run, values, "record.json")
        for file in files:
            self._call(self._client.log_artifact, run, str(file))

    def end(self, run: str, status: str) -> None:
        """Close a run."""
        self._call(self._client.set_terminated, run, status)

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except ImportError as error:  # mlflow-skinny has no databases
            raise MissingDependencyError(
                f"Expected all that MLflow needs for {self._uri}, but {error.name} is missing: "
                "pip install mlflow."
            ) from error
        except (self._mlflow.MlflowException, OSError) as error:  # requests' errors are OSErrors
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"Expected an MLflow tracker at {self._uri}, but it refuses: {reason}"
            ) from error


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        _UNFIT.sub("_", name): shorten(str(value), _LONGEST)
        for name, value in values.items()
        if value not in (None, "", (), [])
    }
