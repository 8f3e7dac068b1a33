"""The ledger puts measurements in the order their artifacts were made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segship.benchmark.candidate import Candidate
from segship.benchmark.evaluate import evaluate
from segship.benchmark.ledger import ledger, step_of
from segship.benchmark.record import Accuracy, Measurement

EXACT = ("fold-head", "fuse-attention")


def measured(name: str, miou: float, *passes: str, **values: Any) -> Measurement:
    notes = [{"name": item, "changed": 1, "notes": []} for item in passes]
    defaults: dict[str, Any] = {
        "path": name,
        "sha256": name,
        "kind": "onnx",
        "runtime": "onnxruntime",
        "precision": "fp32",
        "threads": 1,
        "batch": 1,
        "input_shape": (1, 3, 8, 8),
        "parameters": 1,
        "gmacs": None,
        "contract": {"output": "logits"},
        "lineage": {"source_sha256": "abc", "passes": notes},
        "accuracy": Accuracy(1, miou, (miou,), 1.0, ((1,),)),
    }
    return Measurement(name, **{**defaults, **values})


CHAIN = (
    measured("int8", 0.53, *EXACT, "int8", precision="bf16"),
    measured("torch", 0.56, kind="checkpoint", runtime="torch"),
    measured("rewritten", 0.56, *EXACT),
    measured("bf16", 0.559, *EXACT, runtime="openvino", precision="bf16"),
    measured("plain", 0.56),
)


def test_steps_stand_in_the_order_they_happen() -> None:
    steps = ledger(CHAIN, "torch")
    assert [(item.step, item.measurement) for item in steps] == [
        ("checkpoint", "torch"),
        ("export", "plain"),
        ("rewrites", "rewritten"),
        ("BF16", "bf16"),
        ("INT8", "int8"),
    ]
    assert [item.drop for item in steps] == pytest.approx([0, 0, 0, 0.001, 0.029])
    assert sum(item.drop for item in steps) == pytest.approx(steps[0].miou - steps[-1].miou)


def test_of_two_the_one_on_the_last_step_s_runtime_counts() -> None:
    other = measured("plain openvino", 0.57, runtime="openvino")
    last = measured("fast", 0.55, *EXACT, runtime="openvino")
    steps = ledger((measured("plain", 0.56), other, last), "plain")
    assert [item.measurement for item in steps] == ["plain openvino", "fast"]


def test_another_checkpoint_is_no_step() -> None:
    foreign = measured("foreign", 0.1, "int8")
    foreign = replace(foreign, lineage={**foreign.lineage, "source_sha256": "other"})
    assert ledger((CHAIN[1], foreign), "torch") == ()
    assert ledger((), "torch") == ()


def test_what_a_step_is() -> None:
    assert step_of(measured("a", 0.5, "fp16")) == "FP16"
    assert step_of(measured("a", 0.5, *EXACT, "int8", contract={"output": "labels"})) == (
        "post-processing"
    )
    unchanged = {"passes": [{"name": "mixed", "changed": 0, "notes": []}]}
    assert step_of(measured("a", 0.5, lineage=unchanged)) == "export"


def test_an_evaluation_has_its_ledger(tiny_checkpoint: Path, tiny_onnx: Path) -> None:
    candidates = [Candidate(str(item), threads=1) for item in (tiny_checkpoint, tiny_onnx)]
    record = evaluate(candidates, "scenes:2", examples=0, progress=False)
    assert [item.step for item in record.ledger] == ["checkpoint", "rewrites"]
    accuracy = record.measurements[1].accuracy
    assert accuracy is not None
    assert record.ledger[1].miou == accuracy.miou
