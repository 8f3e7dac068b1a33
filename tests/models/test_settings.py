"""What a user states about a file, in a sidecar or with --set, and what it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from segship.common.errors import InputError
from segship.data.contract import ChannelOrder, Contract, Resample
from segship.models.checkpoints.settings import (
    Settings,
    apply_to_contract,
    apply_to_spec,
    parse_settings,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from segship.models.spec import Eps, ModelSpec


def test_every_kind_of_value() -> None:
    found = parse_settings(
        [
            "flavour=nvlabs",
            "eps=1e-6",
            "eps.sr=1e-5",
            "mean=0.485, 0.56, 0.406",
            "std=0.5",
            "scale=1/255",
            "size=180x320",
            "resample=nearest",
            "channel_order=bgr",
            "classes=road, alternative, background",
            "label_map=7:0,8:1",
            "align_corners=true",
            "depth_range=0,10",
        ]
    )
    assert found.flavour == "nvlabs"
    assert found.spec == {"eps": 1e-6, "eps.sr": 1e-5}
    assert found.contract == {
        "mean": (0.485, 0.56, 0.406),
        "std": (0.5, 0.5, 0.5),
        "scale": 1 / 255,
        "size_px": (180, 320),
        "resample": Resample.NEAREST,
        "channel_order": ChannelOrder.BGR,
        "classes": ("road", "alternative", "background"),
        "label_map": ((7, 0), (8, 1)),
        "align_corners": True,
        "depth_range": (0.0, 10.0),
    }


def test_eps_of_one_site_wins_over_eps_of_all() -> None:
    spec = apply_to_spec(ModelSpec(), parse_settings(["eps.sr=1e-4", "eps=1e-6"]))
    assert spec.eps == Eps(patch=1e-6, sr=1e-4, block=1e-6, stage=1e-6)
    one = apply_to_spec(ModelSpec(), parse_settings(["eps.block=1e-6"]))
    assert one.eps == Eps(block=1e-6)


def test_align_corners_reaches_model_and_contract() -> None:
    stated = parse_settings(["align_corners=yes", "branch_align_corners=on"])
    spec = apply_to_spec(ModelSpec(), stated)
    assert spec.output_align_corners and spec.head.align_corners
    assert apply_to_contract(Contract(), stated).align_corners


def test_the_command_line_wins_over_the_sidecar(tmp_path: Path) -> None:
    file = tmp_path / "best.pth"
    write_sidecar(file, parse_settings(["eps=1e-6", "scale=1/127.5", "classes=a,b"]))
    assert sidecar_path(file).read_text(encoding="utf-8").startswith("# What segship is told about")
    both = parse_settings(["eps=1e-5"]).over(read_sidecar(file))
    assert both.spec == {"eps": 1e-5}
    assert both.contract == {"scale": 1 / 127.5, "classes": ("a", "b")}
    assert both.notes() == ("set by best.pth.segship.yaml and --set: eps, scale, classes",)


def test_a_folder_keeps_its_sidecar_inside(tmp_path: Path) -> None:
    (tmp_path / "segship.yaml").write_text("mean: [0.1, 0.2, 0.3]\nlabel_map: {7: 0, 8: 1}\n")
    found = read_sidecar(tmp_path)
    assert found.contract == {"mean": (0.1, 0.2, 0.3), "label_map": ((7, 0), (8, 1))}


def test_nothing_stated_changes_nothing(tmp_path: Path) -> None:
    nothing = read_sidecar(tmp_path / "absent.pth")
    assert not nothing and nothing == Settings.none() and nothing.notes() == ()
    assert apply_to_spec(ModelSpec(), nothing) == ModelSpec()
    assert apply_to_contract(Contract(), nothing) == Contract()


@pytest.mark.parametrize(
    ("pair", "part"),
    [
        ("epz=1", "did you mean eps?"),
        ("eps=zero", "a number as eps"),
        ("eps=-1", "a positive number as eps"),
        ("scale=1/0", "a number as scale"),
        ("scale=nan", "a number as scale"),
        ("mean=1,2", "3 numbers as mean"),
        ("size=wide", "HEIGHTxWIDTH"),
        ("threshold=1", "between 0 and 1"),
        ("resize=crop", "one of stretch, none"),
        ("palette=red", "a list of [red, green, blue]"),
        ("label_map=7", "pairs DATA:MODEL"),
        ("heads=", "names as heads"),
        ("output_stride=3", "1 (full size) or 4"),
        ("depth_abs=maybe", "true or false"),
        ("eps", "KEY=VALUE"),
    ],
)
def test_a_wrong_value_is_named(pair: str, part: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_settings([pair])
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "mean: [0.1\n", "mean: 'x'\n"])
def test_a_broken_sidecar_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "best.pth"
    sidecar_path(file).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"best\.pth\.segship\.yaml") as caught:
        read_sidecar(file)
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(InputError, match="Expected 3 classes"):
        apply_to_contract(Contract(classes=("a", "b", "c")), parse_settings(["classes=a,b"]))
