"""The choice is seeded, without repetition, and spread over the data set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segship.calibration.sampling import choose_images
from segship.common.errors import InputError


@given(total=st.integers(1, 500), count=st.integers(1, 600), seed=st.integers(0, 2**32))
def test_indices_are_valid_distinct_and_repeatable(total: int, count: int, seed: int) -> None:
    chosen = choose_images(total, count, seed=seed)
    assert len(chosen) == min(total, count) == len(set(chosen))
    assert list(chosen) == sorted(chosen) and 0 <= chosen[0] and chosen[-1] < total
    assert chosen == choose_images(total, count, seed=seed)


def test_another_seed_chooses_others_and_not_the_first() -> None:
    assert choose_images(1000, 8, seed=0) != choose_images(1000, 8, seed=1)
    assert choose_images(1000, 8)[-1] > 100


@pytest.mark.parametrize(("total", "count"), [(0, 4), (4, 0), (4, -1)])
def test_nothing_to_choose_is_refused(total: int, count: int) -> None:
    with pytest.raises(InputError, match="at least 1 image"):
        choose_images(total, count)
