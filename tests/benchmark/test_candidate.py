"""The candidate grammar, names and the choice of the baseline."""

from __future__ import annotations

from pathlib import Path

import pytest

from segship.benchmark.candidate import (
    Candidate,
    parse_candidate,
    resolve_baseline,
    unique_names,
)
from segship.common.errors import InputError


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("m.onnx", ("m.onnx", "auto", "auto")),
        ("m.onnx@torch", ("m.onnx", "torch", "auto")),
        ("dir/m.onnx@openvino:bf16", ("dir/m.onnx", "openvino", "bf16")),
        ("a@b/m.onnx", ("a@b/m.onnx", "auto", "auto")),
        ("a@b/m.onnx@onnxruntime", ("a@b/m.onnx", "onnxruntime", "auto")),
        ("C:\\runs\\m.onnx", ("C:\\runs\\m.onnx", "auto", "auto")),
        ("C:/runs/m:1.onnx@onnxruntime:fp32", ("C:/runs/m:1.onnx", "onnxruntime", "fp32")),
        ("nvidia/segformer-b0", ("nvidia/segformer-b0", "auto", "auto")),
        ("m.engine@tensorrt:mixed", ("m.engine", "tensorrt", "mixed")),
        ("runs/b0@torch-cuda-graph:fp16", ("runs/b0", "torch-cuda-graph", "fp16")),
        ("m.onnx@onnxruntime-tensorrt", ("m.onnx", "onnxruntime-tensorrt", "auto")),
    ],
)
def test_grammar(text: str, want: tuple[str, str, str]) -> None:
    got = parse_candidate(text)
    assert (got.source, got.runtime, got.precision) == want


def test_a_file_whose_name_looks_like_a_runtime_suffix_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx@torch").touch()
    assert parse_candidate("m.onnx@torch") == Candidate("m.onnx@torch")
    assert parse_candidate("m.onnx@torch@openvino").runtime == "openvino"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m.onnx@tensorflow", "Expected a runtime of .* but got 'tensorflow'"),
        ("m.onnx@openvino:int4", "Expected precision .* but got 'int4'"),
        ("m.onnx@openvino:", "precision behind ':'"),
        ("m.onnx@", "but got ''"),
        ("@openvino", "ARTIFACT"),
        (" ", "ARTIFACT"),
    ],
)
def test_wrong_grammar_is_one_clear_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_candidate(text)
    assert "\n" not in str(caught.value)


def test_names_say_what_differs_and_never_repeat() -> None:
    candidates = [
        Candidate("a/plain.onnx"),
        Candidate("b/plain.onnx"),
        Candidate("b/plain.onnx", threads=1),
        Candidate("b/plain.onnx", threads=1),
        Candidate("runs/b0-camvid", name="mine"),
    ]
    resolved = [("onnxruntime", "fp32")] * 4 + [("torch", "fp32")]
    assert unique_names(candidates, resolved) == [
        "plain · onnxruntime fp32 (a)",
        "plain · onnxruntime fp32 (b)",
        "plain · onnxruntime fp32, 1 threads (b)",
        "plain · onnxruntime fp32, 1 threads (b) #2",
        "mine",
    ]


def test_a_checkpoint_is_named_by_its_folder() -> None:
    names = unique_names([Candidate("runs/v1.2/")], [("torch", "fp32")])
    assert names == ["v1.2 · torch fp32"]


def test_an_engine_is_named_without_its_ending() -> None:
    names = unique_names([Candidate("runs/v1.2.engine")], [("tensorrt", "fp16")])
    assert names == ["v1.2 · tensorrt fp16"]


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="given twice"):
        unique_names([Candidate("a", name="x"), Candidate("b", name="x")], [("torch", "fp32")] * 2)


def test_baseline_is_found_by_name_source_or_grammar_and_else_added() -> None:
    first = Candidate("a.onnx", "openvino", "bf16", threads=2)
    second = Candidate("b.onnx", name="slim")
    assert resolve_baseline((first, second), None)[0] is first
    assert resolve_baseline((first, second), "slim") == (second, first)
    assert resolve_baseline((first, second), "b.onnx") == (second, first)
    assert resolve_baseline((second, first), "a.onnx@openvino:bf16") == (first, second)
    added = resolve_baseline((first,), "a.onnx@onnxruntime")
    assert added == (Candidate("a.onnx", "onnxruntime"), first)
    with pytest.raises(InputError, match="at least one"):
        resolve_baseline((), None)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"threads": 0}, {"postprocess": "fast"}])
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="Expected"):
        Candidate("m.onnx", **wrong)  # type: ignore[arg-type]  # the wrong type is the test
