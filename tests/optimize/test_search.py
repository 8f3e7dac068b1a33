"""The search asks the right questions; the prices and trials behind it are real."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import pytest

from segship.benchmark.latency import LatencyRule
from segship.benchmark.price import PartPrice, Trial
from segship.benchmark.record import load_record, save_record
from segship.common.errors import InputError
from segship.optimize.quantize.quantize import QuantizeReport, quantize
from segship.optimize.quantize.search import best, gaining, rank, search
from segship.optimize.quantize.search_cache import SearchCache

MEASURE = "segship.optimize.quantize.search_measure"
BUDGET = 0.01  # of mIoU


def price(part: str, saved_ms: float, kl: float, *, doubtful: bool = False) -> PartPrice:
    return PartPrice(part, 1, kl, kl, 0.0, 0.0, 10.0, saved_ms, doubtful)


def world(
    losses: Mapping[str, float], saved_ms: Mapping[str, float]
) -> tuple[Callable[[tuple[str, ...]], Trial], list[tuple[str, ...]]]:
    """Return a measure in which losses and times add up (float: 20 ms), and what it was asked."""
    asked: list[tuple[str, ...]] = []

    def measure(parts: tuple[str, ...]) -> Trial:
        asked.append(parts)
        lost = sum(losses[part] for part in parts)
        time_ms = 20 - sum(saved_ms[part] for part in parts)
        name = "+".join(parts) or "float"
        return Trial(
            name, parts, 0.5 - lost, lost, 1, time_ms, 20, 20 / time_ms, False, lost <= BUDGET
        )

    return measure, asked


def test_all_parts_are_taken_where_all_gain_and_none_loses() -> None:
    prices = [price(name, 2, 1e-6) for name in "abc"]
    measure, asked = world(dict.fromkeys("abc", 0.001), dict.fromkeys("abc", 2.0))
    trials, chosen = search(prices, "abc", measure, trials=9)
    assert chosen.parts == ("a", "b", "c")
    assert asked[:2] == [(), ("a", "b", "c")]
    assert len(trials) == len(asked) == len(set(asked))


def test_the_part_that_loses_is_left_out() -> None:
    prices = [price("a", 2, 1e-6), price("b", 3, 1e-1), price("c", 1, 1e-6), price("d", 1, 1e-5)]
    losses = {"a": 0.001, "b": 0.5, "c": 0.001, "d": 0.001}
    measure, _ = world(losses, {"a": 2, "b": 3, "c": 1, "d": 1})
    _, chosen = search(prices, "abcd", measure, trials=12)
    assert chosen.parts == ("a", "c", "d")


def test_a_part_that_costs_time_is_left_out() -> None:
    prices = [price("a", 2, 1e-6), price("b", -3, 1e-6), price("c", 1, 1e-6)]
    measure, _ = world(dict.fromkeys("abc", 0.0), {"a": 2, "b": -3, "c": 1})
    _, chosen = search(prices, "abc", measure, trials=5)
    assert chosen.parts == ("a", "c")


def test_the_float_graph_wins_where_nothing_is_faster() -> None:
    prices = [price(name, 0.1, 1e-6) for name in "abcd"]
    measure, _ = world(dict.fromkeys("abcd", 0.0), dict.fromkeys("abcd", -1.0))
    trials, chosen = search(prices, "abcd", measure, trials=12)
    assert chosen.parts == ()
    assert len(trials) > 3  # fewer parts were tried as well


def test_a_doubtful_gain_is_no_gain() -> None:
    trial = Trial("a", ("a",), 0.5, 0.0, 1.0, 19.0, 20.0, 1.05, True, True)
    assert best([trial]) is None


def test_the_number_of_trials_is_kept() -> None:
    prices = [price(name, 1, 10.0**-index) for index, name in enumerate("abcdefgh")]
    measure, asked = world(dict.fromkeys("abcdefgh", 0.4), dict.fromkeys("abcdefgh", 1.0))
    trials, chosen = search(prices, "abcdefgh", measure, trials=4)
    assert len(asked) == len(trials) == 4
    assert chosen.parts == ()
    with pytest.raises(InputError, match="2 trials"):
        search(prices, "abc", measure, trials=1)


def test_rank_and_gaining_follow_time_per_loss() -> None:
    prices = [
        price("dear", 2, 1e-1),
        price("cheap", 1, 1e-3),
        price("slow", -1, 1e-6),
        price("outside", 3, 1e-6, doubtful=True),
    ]
    whole = ("dear", "cheap", "slow")
    assert rank(prices, whole) == ("cheap", "dear", "slow")
    assert gaining(prices, whole) == ("dear", "cheap")


@pytest.fixture(scope="module")
def mixed(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> QuantizeReport:
    """One small search over the real tools, with short clocks."""
    quick = LatencyRule(rounds=2, runs=1, warmup_runs=2, window=1, minimum_rounds=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{MEASURE}.PART_RULE", quick)
        patch.setattr(f"{MEASURE}.TRIAL_RULE", quick)
        patch.setattr("segship.optimize.quantize.search_mixed.PART_IMAGES", 1)
        return run(tiny_checkpoint, tmp_path_factory.mktemp("mixed") / "m.onnx")


def run(checkpoint: Path, out: Path) -> QuantizeReport:
    return quantize(
        checkpoint,
        out,
        precision="mixed",
        data="scenes:20",
        evaluation="scenes:4",
        allow_overlap=True,
        images=2,
        trials=2,
        threads=1,
        profile="cpu-onnxruntime",
        max_miou_drop=100,
    )


def test_every_part_has_a_price_and_every_trial_is_reported(mixed: QuantizeReport) -> None:
    assert mixed.sensitivity is not None
    assert mixed.search is not None
    parts = {row.part for row in mixed.sensitivity.rows}
    assert {"stage 1 patch embed", "stage 3 qk", "stage 4 fc2", "head branch 2"} <= parts
    assert all(row.saved_ms is not None and row.kl is not None for row in mixed.sensitivity.rows)
    assert [item.parts == () for item in mixed.search.trials] == [True, False]
    assert mixed.search.chosen in [item.name for item in mixed.search.trials]
    chosen = next(item for item in mixed.search.trials if item.name == mixed.search.chosen)
    quantizers = sum(
        node.op_type == "QuantizeLinear" for node in onnx.load(str(mixed.artifact.path)).graph.node
    )
    assert (quantizers > 0) == bool(chosen.parts)


def test_the_record_keeps_prices_and_trials(mixed: QuantizeReport, tmp_path: Path) -> None:
    assert mixed.record is not None
    save_record(mixed.record, tmp_path / "r.json")
    assert load_record(tmp_path / "r.json") == mixed.record


def test_a_search_goes_on_where_it_was_stopped(
    mixed: QuantizeReport, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(f"{MEASURE}.Bench.trial", never)
    monkeypatch.setattr(f"{MEASURE}.Bench.sensitivity", never)
    monkeypatch.setattr("segship.optimize.quantize.search_mixed.PART_IMAGES", 1)
    again = run(tiny_checkpoint, mixed.artifact.path)
    assert again.search == mixed.search
    assert again.sensitivity == mixed.sensitivity


def test_foreign_trials_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"version": 99, "measured": {}}))
    with pytest.raises(InputError, match="remove it"):
        SearchCache(path)


def test_a_search_needs_data_to_judge_on(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--eval"):
        quantize(tiny_checkpoint, tmp_path / "m.onnx", precision="mixed", data="scenes:4", images=2)
