"""The rank test against numbers counted by hand, and its rate of false alarms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segship.benchmark.ranks import rank_test
from segship.common.errors import InputError


def test_all_above_all_below() -> None:
    before, after = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], [3.0 + i / 10 for i in range(8)]
    found = rank_test(before, after)
    assert found.share_slower == 1.0
    # U = 64, mean 32, sigma = sqrt(64·17/12); continuity 0.5
    score = (64 - 32 - 0.5) / math.sqrt(64 * 17 / 12)
    assert found.p_value == pytest.approx(math.erfc(score / math.sqrt(2)))
    assert rank_test(after, before).p_value == pytest.approx(found.p_value)
    assert rank_test(after, before).ratio == pytest.approx(1 / found.ratio)


def test_ties_shrink_the_variance() -> None:
    before, after = [1.0] * 6 + [2.0] * 2, [1.0] * 2 + [2.0] * 6
    found = rank_test(before, after)
    # pairs: 36 of 64 greater, 24 tied → U = 48; two groups of 8 ties among 16
    assert found.share_slower == 48 / 64
    sigma = math.sqrt(64 / 12 * (17 - 2 * (8**3 - 8) / (16 * 15)))
    assert found.p_value == pytest.approx(math.erfc((48 - 32 - 0.5) / sigma / math.sqrt(2)))


def test_the_ratio_and_its_interval() -> None:
    noise = np.random.default_rng(1).lognormal(0, 0.05, (2, 60))
    found = rank_test(list(20 * noise[0]), list(22 * noise[1]))
    assert found.low < 1.1 < found.high
    assert 1.02 < found.low < found.ratio < found.high < 1.18


def test_false_alarms_are_as_rare_as_said() -> None:
    noise = np.random.default_rng(2).lognormal(0, 0.2, (400, 2, 20))
    tests = [rank_test(list(a), list(b)) for a, b in noise]
    alarms = sum(item.p_value < 0.05 for item in tests)
    missed = sum(not item.low <= 1 <= item.high for item in tests)
    assert 4 <= alarms <= 36  # 20 expected of 400, four standard deviations either side
    assert 4 <= missed <= 36


def test_thousands_of_samples_are_thinned_over_the_whole_run() -> None:
    rising = np.linspace(1, 2, 50_000)
    assert rank_test(list(rising), list(rising)).ratio == pytest.approx(1.0)


@pytest.mark.parametrize("samples", [[1.0] * 7, [1.0] * 9 + [0.0], []])
def test_too_few_or_impossible_times_are_refused(samples: list[float]) -> None:
    with pytest.raises(InputError, match="8 or more times above 0"):
        rank_test(samples, [1.0] * 10)
