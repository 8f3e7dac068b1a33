"""The contract survives its JSON, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segship.common.errors import InputError
from segship.data.contract import (
    ChannelOrder,
    Contract,
    InputKind,
    OutputKind,
    Resample,
    ResizeRule,
)

byte = st.integers(0, 255)
three = st.tuples(*[st.floats(0.01, 300)] * 3)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    classes = tuple(draw(st.lists(st.text(max_size=5), max_size=4)))
    colours = st.tuples(byte, byte, byte)
    palette = draw(st.lists(colours, min_size=len(classes), max_size=len(classes)))
    return Contract(
        size_px=draw(st.tuples(st.integers(1, 4096), st.integers(1, 4096))),
        resize=draw(st.sampled_from(ResizeRule)),
        resample=draw(st.sampled_from(Resample)),
        channel_order=draw(st.sampled_from(ChannelOrder)),
        scale=draw(st.floats(1e-4, 1)),
        mean=draw(three),
        std=draw(three),
        input=draw(st.sampled_from(InputKind)),
        output=draw(st.sampled_from(OutputKind)),
        align_corners=draw(st.booleans()),
        classes=classes,
        palette=tuple(palette),
        ignore_index=draw(byte),
        reduce_labels=draw(st.booleans()),
        label_map=tuple(draw(st.lists(st.tuples(byte, byte), max_size=3))),
        threshold=draw(st.none() | st.floats(0, 1)),
        heads=tuple(draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=2))),
    )


@settings(max_examples=60, deadline=None)  # no deadline: the machine is shared
@given(contracts())
def test_json_brings_back_the_same_contract(contract: Contract) -> None:
    text = contract.to_json()
    assert "\n" not in text
    found = Contract.from_json(text)
    assert found == contract
    assert isinstance(found.resize, ResizeRule)


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", "null", "not json"])
def test_what_is_no_contract_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="contract in JSON"):
        Contract.from_json(text)


def test_unknown_fields_and_versions_are_refused() -> None:
    values = json.loads(Contract().to_json())
    for change in ({"version": 2}, {"colour": 1}):
        with pytest.raises(InputError, match="export again"):
            Contract.from_json(json.dumps({**values, **change}))


@pytest.mark.parametrize("change", [{"resize": "zoom"}, {"std": 3}, {"size_px": None}])
def test_values_of_another_kind_are_refused(change: dict[str, Any]) -> None:
    values = json.loads(Contract().to_json())
    with pytest.raises(InputError, match="a contract can hold") as caught:
        Contract.from_json(json.dumps({**values, **change}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_px": (0, 4)},
        {"std": (1.0, 0.0, 1.0)},
        {"scale": 0.0},
        {"classes": ("a",), "palette": ((0, 0, 0), (1, 1, 1))},
    ],
)
def test_impossible_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Contract(**wrong)


def test_a_one_class_head_predicts_two_labels() -> None:
    assert Contract(classes=("polyp",), threshold=0.5).num_classes == 2
    assert Contract(classes=("polyp",)).num_classes == 1
