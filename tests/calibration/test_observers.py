"""Every rule against its definition, spelled out without cleverness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segship.calibration.observers import METHODS, make_observer
from segship.calibration.observers.entropy import divergences
from segship.calibration.observers.grid import ErrorPower, grid
from segship.calibration.observers.histogram import Histogram
from segship.common.errors import InputError

Values = NDArray[np.float32]
_RNG = np.random.default_rng(3)
SHAPES: dict[str, Values] = {
    "normal": _RNG.normal(0.2, 1, 40_000).astype(np.float32),
    "laplace": _RNG.laplace(0, 3, 40_000).astype(np.float32),
    "relu": np.maximum(_RNG.normal(0, 1, 40_000), 0).astype(np.float32),
    "outlier": np.append(_RNG.normal(0, 1, 40_000), 300).astype(np.float32),
    "negative": -np.abs(_RNG.normal(0, 1e-3, 40_000)).astype(np.float32),
}


def observed(method: str, values: Values, percentile: float = 99.9) -> tuple[float, float]:
    observer = make_observer(method, percentile=percentile)
    observer.update(values)
    return observer.range(True)


def squared_error(values: Values, low: float, high: float, symmetric: bool) -> float:
    """The mean squared error of quantizing every single value."""
    step, first, last = grid(low, high, symmetric=symmetric)
    exact = values.astype(np.float64)
    return float(np.mean((np.clip(np.rint(exact / step), first, last) * step - exact) ** 2))


def literal_divergence(counts: Sequence[int], bins: int, levels: int) -> float:
    """KL(P‖Q) of a threshold after `bins` bins, step by step as published."""
    tail = sum(counts[bins:])
    p: list[float] = [*counts[: bins - 1], counts[bins - 1] + tail]
    level_of = [bin_ * levels // bins for bin_ in range(bins)]
    q = [0.0] * bins
    for level in range(levels):
        members = [bin_ for bin_ in range(bins) if level_of[bin_] == level]
        filled = [bin_ for bin_ in members if counts[bin_] > 0]
        for bin_ in filled:
            q[bin_] = sum(counts[member] for member in members) / len(filled)
    if tail and not counts[bins - 1]:
        q[-1] = 1.0
    if not sum(counts[:bins]):
        return float("inf")
    pairs = [(a / sum(p), b / sum(q)) for a, b in zip(p, q, strict=True) if a]
    return float(sum(a * np.log(a / b) for a, b in pairs))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0, 0, 1, 2, 5, 90, 1000]), min_size=9, max_size=40))
def test_divergences_are_the_published_sums(counts: list[int]) -> None:
    if not sum(counts):
        counts[3] = 1
    found = divergences(np.array(counts, np.float64), 8)
    wanted = [literal_divergence(counts, bins, 8) for bins in range(8, len(counts) + 1)]
    # both are sums of some 40 terms of at most 10 in float64
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_percentile_lies_between_the_values_around_it(shape: str) -> None:
    values = SHAPES[shape]
    bin_ = float(np.abs(values).max()) / 4096  # the widest a bin can be: values count as in it

    def around(ordered: Values, share: float) -> tuple[float, float]:
        rank = round(share * len(ordered))
        return float(ordered[rank - 2]) - bin_, float(
            ordered[min(rank + 1, len(ordered) - 1)]
        ) + bin_

    low, high = around(np.sort(np.abs(values)), 0.999)
    assert low <= observed("percentile", values)[1] <= high
    observer = make_observer("percentile", percentile=99.0)
    observer.update(values)
    for found, share in zip(observer.range(False), (0.005, 0.995), strict=True):
        low, high = around(np.sort(values), share)
        assert low <= found <= high or found == 0  # zero is always inside


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_mse_is_as_good_as_a_search_over_every_value(shape: str, symmetric: bool) -> None:
    values = SHAPES[shape]
    observer = make_observer("mse")
    observer.update(values)
    found = squared_error(values, *observer.range(symmetric), symmetric)
    low, high = observer.range(symmetric) if symmetric else (values.min(), values.max())
    tops = np.linspace(0.02, 1, 60) * float(np.abs(values).max())
    if symmetric:
        best = min(squared_error(values, -top, top, True) for top in tops)
    else:
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        parts = np.linspace(0.02, 1, 25)
        pairs = [(low * a, high * b) for a in parts for b in parts if low * a < high * b]
        best = min(squared_error(values, *pair, False) for pair in pairs)
    assert found <= 1.03 * best  # candidates are 4 % apart: under 1 % by the rule, 3 % with bins


@pytest.mark.parametrize("shape", SHAPES)
def test_the_error_of_a_histogram_is_the_error_of_its_values(shape: str) -> None:
    values = SHAPES[shape]
    histogram = Histogram()
    peak = float(np.abs(values).max())
    histogram.add(values, peak)
    power = ErrorPower(histogram)
    # relative: a value's place in its bin is unknown, and a ReLU's zeros are taken as spread
    assert power.signal == pytest.approx(np.mean(values.astype(np.float64) ** 2), rel=1e-3)
    for part in (1, 0.5, 0.2):
        exact = squared_error(values, -part * peak, part * peak, True)
        assert power.noise(-part * peak, part * peak, symmetric=True) == pytest.approx(
            exact, rel=0.05
        )


def test_entropy_cuts_what_is_rare_and_keeps_what_is_not() -> None:
    assert observed("entropy", SHAPES["outlier"])[1] < 25
    uniform = np.linspace(-1, 1, 40_000, dtype=np.float32)
    assert observed("entropy", uniform)[1] > 0.98
    assert 2 < observed("entropy", SHAPES["normal"])[1] <= np.abs(SHAPES["normal"]).max()


def test_asymmetric_ranges_use_one_side_where_there_is_one() -> None:
    for method in METHODS:
        observer = make_observer(method)
        observer.update(SHAPES["relu"])
        low, high = observer.range(False)
        assert low == 0 and 0 < high <= SHAPES["relu"].max()
        observer = make_observer(method)
        observer.update(SHAPES["negative"])
        low, high = observer.range(False)
        assert high == 0 and SHAPES["negative"].min() <= low < 0


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_batches_changes_nothing(method: str) -> None:
    batches = [values * np.float32(0.01 * 7**index) for index, values in enumerate(SHAPES.values())]
    ranges = set()
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]):
        observer = make_observer(method)
        for index in order:
            observer.update(batches[index])
        ranges.add((observer.range(True), observer.range(False), observer.minimum, observer.count))
    assert len(ranges) == 1  # equal to the last bit: bins are joined, never interpolated


def test_joining_bins_equals_counting_at_once() -> None:
    small, large = SHAPES["normal"], SHAPES["laplace"] * np.float32(1000)
    stepwise, at_once = Histogram(), Histogram()
    stepwise.add(small, float(np.abs(small).max()))
    stepwise.add(large, float(np.abs(large).max()))
    both = np.concatenate([small, large])
    at_once.add(both, float(np.abs(both).max()))
    assert stepwise.exponent == at_once.exponent
    assert np.array_equal(stepwise.counts, at_once.counts)
    assert stepwise.total == both.size and stepwise.folded().sum() == both.size


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_by_name(bad: float) -> None:
    values = SHAPES["normal"].copy()
    values[777] = bad
    for method in METHODS:
        with pytest.raises(InputError, match="finite activations, but /head/Add"):
            make_observer(method, "/head/Add").update(values)


def test_zeros_and_nothing() -> None:
    for method in METHODS:
        observer = make_observer(method, "x")
        with pytest.raises(InputError, match="x, but it has not been seen"):
            observer.range(True)
        observer.update(np.zeros((2, 3), np.float32))
        assert observer.range(True) == (-1, 1) and observer.range(False) == (0, 1)
        observer.update(np.full(9, 1e-30, np.float32))
        assert 0 < observer.range(True)[1] <= 1.0001e-30  # float32 rounds 1e-30 up


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(InputError, match="minmax, percentile, entropy, mse, but got 'kl'"):
        make_observer("kl")
    with pytest.raises(InputError, match="percentile above 50"):
        make_observer("percentile", percentile=0.9999)
    observer = make_observer("minmax")
    observer.update(SHAPES["relu"])
    with pytest.raises(InputError, match="2 to 16 bits"):
        observer.range(True, bits=32)
