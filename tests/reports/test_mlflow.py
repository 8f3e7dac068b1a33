"""Records in a real MLflow: a folder, and a server with a database behind it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from segship.benchmark.record import Record, load_record
from segship.cli import segship
from segship.common.errors import MissingDependencyError
from segship.reports.mlflow_log import check_tracker, measurement_metrics, record_params
from segship.tests.reports.conftest import build_record

_ASK = """
import json, sys
sys.path.append(sys.argv[1])
import mlflow
client = mlflow.MlflowClient(tracking_uri=sys.argv[2])
found = client.get_experiment_by_name("segship")
runs = client.search_runs([found.experiment_id]) if found else []
print(json.dumps([
    {"name": run.info.run_name, "status": run.info.status, "metrics": run.data.metrics,
     "params": run.data.params, "parent": run.data.tags.get("mlflow.parentRunId"),
     "id": run.info.run_id, "files": [f.path for f in client.list_artifacts(run.info.run_id)]}
    for run in runs
]))
"""
QUIET = {
    **os.environ,
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def library(repository: Path) -> str:
    """The folder MLflow is installed in, apart from everything else."""
    folder = repository / ".venv" / "mlflow"
    if not (folder / "mlflow").is_dir():
        pytest.skip("needs MLflow: .venv/bin/pip install --target .venv/mlflow mlflow")
    return str(folder)


@pytest.fixture
def server(library: str, tmp_path: Path) -> Iterator[str]:
    """A server of our own on a free port, ended with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"),
        *("--artifacts-destination", str(tmp_path / "kept")),
    ]
    environment = {**QUIET, "PYTHONPATH": library}
    log = (tmp_path / "server.log").open("w")
    child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{address}/health", child, tmp_path / "server.log")
        yield address
    finally:
        child.terminate()
        child.wait(30)
        log.close()


def _wait(address: str, child: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and child.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"MLflow's server did not start: {log.read_text()[-300:]}")


def evaluate(library: str, uri: str, model: Path, folder: Path, *more: str) -> Any:
    module = "segship.tests.reports.mlflow_child"
    command = [sys.executable, "-m", module, library, "evaluate", f"{model}@onnxruntime"]
    command += ["--data", "scenes:2", "--threads", "1", "--mlflow", uri, *more]
    return subprocess.run(
        command, env=QUIET, cwd=folder, capture_output=True, text=True, timeout=300
    )


def runs(library: str, uri: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", _ASK, library, uri]
    done = subprocess.run(command, env=QUIET, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def check(found: list[dict[str, Any]], record: Record, files: set[str]) -> None:
    """Compare what the tracker holds with the record."""
    parent = next(run for run in found if run["parent"] is None)
    (child,) = (run for run in found if run["parent"] == parent["id"])
    assert {run["status"] for run in found} == {"FINISHED"}
    assert set(parent["files"]) == files
    assert parent["params"]["protocol.data"] == "scenes:2"
    assert parent["params"]["host.host_id"] == record.environment.host_id
    (item,) = record.measurements
    assert child["name"] == item.name
    assert child["params"]["sha256"] == item.sha256
    assert child["metrics"] == pytest.approx(measurement_metrics(record, item))
    assert item.accuracy
    assert child["metrics"]["miou"] == item.accuracy.miou


def test_a_folder(library: str, tiny_onnx: Path, tmp_path: Path) -> None:
    store, saved = tmp_path / "store", tmp_path / "r.json"
    table = tmp_path / "t.csv"
    more = ("--json", str(saved), "--table", str(table))
    done = evaluate(library, str(store), tiny_onnx, tmp_path, *more)
    assert done.returncode == 0, done.stderr
    assert f"logged: {store}, run " in done.stdout
    check(runs(library, str(store)), load_record(saved), {"record.json", "r.json", "t.csv"})


def test_a_server(library: str, server: str, tiny_onnx: Path, tmp_path: Path) -> None:
    saved = tmp_path / "r.json"
    done = evaluate(library, server, tiny_onnx, tmp_path, "--json", str(saved))
    assert done.returncode == 0, done.stderr
    check(runs(library, server), load_record(saved), {"record.json", "r.json"})


def test_no_server_is_said_before_any_work(library: str, tiny_onnx: Path, tmp_path: Path) -> None:
    saved = tmp_path / "r.json"
    done = evaluate(library, "http://127.0.0.1:9", tiny_onnx, tmp_path, "--json", str(saved))
    assert done.returncode == 2
    assert "Expected an MLflow tracker at http://127.0.0.1:9, but it refuses" in done.stderr
    assert done.stderr.count("Error:") == 1
    assert not saved.exists()


def test_nothing_is_imported_unasked(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # an import would raise
    command = ["evaluate", str(tiny_onnx), "--runtime", "onnxruntime", "--data", "scenes:1"]
    assert CliRunner().invoke(segship, command).exit_code == 0
    with pytest.raises(MissingDependencyError, match="pip install mlflow-skinny"):
        check_tracker("anywhere")
    result = CliRunner().invoke(segship, [*command, "--mlflow", "anywhere"])
    assert result.exit_code == 2


def test_names_and_numbers_of_a_whole_record() -> None:
    record = build_record(count=2)
    item = record.measurements[1]
    assert item.accuracy and item.latency and item.memory and item.accuracy.drop
    found = measurement_metrics(record, item)
    assert found["latency_median_ms"] == item.latency.median_ms
    assert found["memory_peak_mib"] == item.memory.peak_mib
    assert found["miou_drop_high"] == item.accuracy.drop.high
    assert found["iou/sky"] == item.accuracy.iou[0]
    assert not any(set(name) & set("%:·") for name in found)
    odd = replace(record, classes=("a·b%", *record.classes[1:]))
    assert "iou/a_b_" in measurement_metrics(odd, item)
    long = record_params(replace(record, command="x" * 9000))
    assert max(map(len, long.values())) == 500
    assert long["library.onnxruntime"] == "1.24.4"
