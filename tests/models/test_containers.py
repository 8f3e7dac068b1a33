"""Each container gives its weights bit-exact, its plain values, and says what it chose."""

from __future__ import annotations

import math
import os
import struct
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segship.common.errors import InputError
from segship.models.checkpoints.containers import read_container
from segship.tests.models.container_files import (
    KINDS,
    LEGACY,
    META,
    Network,
    container_bytes,
    contents,
    foreign,
    small_tensors,
    stored_names,
    write,
)


def _same(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert got[name].dtype == tensor.dtype and got[name].shape == tensor.shape
        assert torch.equal(got[name], tensor.detach()), name


def _save(content: Any, folder: Path, **options: Any) -> Path:
    path = folder / "m.pth"
    with foreign(Network):
        torch.save(content, path, **options)
    return path


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")  # the module is made up
@pytest.mark.parametrize("kind", KINDS)
def test_each_container_gives_its_weights_as_stored(kind: str, tmp_path: Path) -> None:
    tensors = small_tensors()
    held = read_container(write(tmp_path, kind, tensors))
    _same(held.tensors, stored_names(kind, tensors))
    assert held.path.parent == tmp_path
    names = {"legacy": "plain", "unchecked": "plain", "mmengine ema": "mmengine", "ema": "dict"}
    assert held.kind == {**names, "legacy module": "dict"}.get(kind, kind)


def test_suffixes_do_not_decide_the_format(tmp_path: Path) -> None:
    for kind, name in (("safetensors", "a.pth"), ("plain", "b.safetensors")):
        (tmp_path / name).write_bytes(container_bytes(kind, small_tensors()))
        _same(read_container(tmp_path / name).tensors, small_tensors())


def test_plain_values_come_along_and_objects_do_not(tmp_path: Path) -> None:
    mmcv = read_container(write(tmp_path, "mmcv", small_tensors())).meta
    assert mmcv == {
        "meta": {"config": "num_classes=2", "CLASSES": ["road", "sky"], "epoch": 3},
    }
    mmengine = read_container(write(tmp_path, "mmengine", small_tensors())).meta
    assert mmengine["meta"]["dataset_meta"] == META and mmengine.keys() == {"meta"}
    lightning = read_container(write(tmp_path, "lightning", small_tensors())).meta
    assert lightning["hyper_parameters"] == {"lr": 1e-4, "args": {"size": 8}}
    assert lightning["epoch"] == 3
    assert read_container(write(tmp_path, "safetensors", small_tensors())).meta == {"format": "pt"}


def test_meta_keeps_numbers_texts_and_nested_values(tmp_path: Path) -> None:
    extra = {
        "id2label": {0: "road", 1: "sky"},
        "none": None,
        "flag": True,
        "nested": [(1, 2.5), {"x": {3}}],
        "default": defaultdict(list, a=[1]),
        "raw": b"\x00\xff",
        "best": torch.tensor(0.5),
        "size": torch.Size([3, 4]),
    }
    held = read_container(_save({"state_dict": small_tensors(), **extra}, tmp_path))
    assert held.meta == {
        "id2label": {0: "road", 1: "sky"},
        "none": None,
        "flag": True,
        "nested": [[1, 2.5], {"x": [3]}],
        "default": {"a": [1]},
        "size": [3, 4],
    }
    assert held.kind == "dict"


def test_endless_and_exploding_values_are_bounded(tmp_path: Path) -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    exploding: list[Any] = []
    for _ in range(60):
        exploding = [exploding, exploding]
    long = "x" * (3 << 20)
    more = {
        "endless": endless,
        "exploding": exploding,
        "long": long,
        "lines": ["y" * 100] * 200_000,
    }
    held = read_container(_save({"state_dict": small_tensors(), **more}, tmp_path))
    assert held.meta["endless"][0] == 1 and "long" not in held.meta
    assert len(str(held.meta)) < 10 << 20  # 8 Mi characters and their punctuation


# --- which weights -------------------------------------------------------------------------


def test_a_stray_tensor_beside_the_weights_does_not_hide_them(tmp_path: Path) -> None:
    held = read_container(_save({"best": torch.ones(1), "net": small_tensors()}, tmp_path))
    _same(held.tensors, small_tensors())


def test_mmengine_holds_its_average_as_state_dict(tmp_path: Path) -> None:
    (note,) = read_container(write(tmp_path, "mmengine ema", small_tensors())).notes
    assert "running average (EMA), as mmengine saves" in note and "'ema_state_dict'" in note


def test_an_average_beside_the_weights_is_taken_and_said(tmp_path: Path) -> None:
    (note,) = read_container(write(tmp_path, "ema", small_tensors())).notes
    assert "running average (EMA) under 'ema'" in note and "'model' were left out" in note


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_an_average_that_does_not_fit_is_never_mixed_in(change: str, tmp_path: Path) -> None:
    average = {name: tensor + 1 for name, tensor in small_tensors().items()}
    average["a.bias"] = torch.zeros(9)
    if change == "missing":
        del average["a.bias"]
    held = read_container(_save({"model": small_tensors(), "model_ema": average}, tmp_path))
    _same(held.tensors, small_tensors())
    assert "'model_ema' does not hold all of them" in held.notes[0]


def test_an_average_alone_is_taken_and_said(tmp_path: Path) -> None:
    held = read_container(_save({"ema": {"shadow": small_tensors()}}, tmp_path))
    _same(held.tensors, small_tensors())
    assert "running average" in held.notes[0]


def test_two_sets_of_weights_are_named_not_mixed(tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in small_tensors().items()}
    held = read_container(_save({"model": other, "state_dict": small_tensors()}, tmp_path))
    _same(held.tensors, small_tensors())
    assert held.notes == ("other weights in the file were left out: model",)
    with pytest.raises(InputError, match="one dict of weights.*'left', 'right'"):
        read_container(_save({"left": other, "right": other}, tmp_path))


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")  # the module is made up
def test_a_pickled_module_gives_what_its_state_dict_gives(
    options: dict[str, Any], tmp_path: Path
) -> None:
    norm = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    norm.add_module("own", Network())
    model = nn.DataParallel(norm)
    held = read_container(_save(model, tmp_path, **options))
    _same(held.tensors, model.state_dict())
    assert held.kind == "module" and "was not run" in held.notes[0]


def test_the_optimiser_is_not_read(tmp_path: Path) -> None:
    """Its storage is damaged in a file with checksums, and nobody notices."""
    state = {"exp_avg": torch.full((999,), 3.25)}
    path = _save({"model": small_tensors(), "optimizer": {"state": {0: state}}}, tmp_path)
    data = path.read_bytes()
    damaged = data.replace(struct.pack("<f", 3.25) * 900, struct.pack("<f", 4.5) * 900)
    assert damaged != data
    path.write_bytes(damaged)
    _same(read_container(path).tensors, small_tensors())


# --- refusals ------------------------------------------------------------------------------


def _encrypted() -> list[dict[str, Any]]:
    tao = contents("tao", small_tensors())
    tao["hyper_parameters"] = {}
    return [{**tao, "state_dict_encrypted": True}, {**tao, "state_dict": b"\x00\xff" * 99}]


@pytest.mark.parametrize("content", _encrypted(), ids=["flag", "bytes"])
@pytest.mark.parametrize("options", [{}, {"pickle_protocol": 4}], ids=["2", "4"])
def test_encrypted_tao(content: Any, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encrypted by NVIDIA TAO"):
        read_container(_save(content, tmp_path, **options))


_KINDS_OF_TENSOR: dict[str, Callable[[Tensor], Tensor]] = {
    "quantised": lambda dense: torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
    "sparse": Tensor.to_sparse,
    "without data": lambda dense: dense.to("meta"),
    "number format": lambda dense: dense.to(torch.float8_e4m3fn),
    "conjugated": lambda dense: dense.to(torch.complex64).conj(),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # its own deprecation
@pytest.mark.parametrize("kind", list(_KINDS_OF_TENSOR))
def test_tensors_that_are_no_dense_array(kind: str, tmp_path: Path) -> None:
    path = _save({"w": _KINDS_OF_TENSOR[kind](torch.randn(3, 4)), "b": torch.ones(1)}, tmp_path)
    with pytest.raises(InputError, match=f"'w' in .* is a tensor .*{kind}"):
        read_container(path)


@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")  # people's files stay
def test_a_script_archive(tmp_path: Path) -> None:
    script = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))  # type: ignore[no-untyped-call]
    script.save(str(tmp_path / "m.pt"))
    with pytest.raises(InputError, match="TorchScript archive"):
        read_container(tmp_path / "m.pt")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1], None, torch.ones(1), "text"])
def test_files_without_weights(content: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected named tensors"):
        read_container(_save(content, tmp_path))


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(InputError, match="no regular file"):
        read_container(tmp_path / "pipe.pth")
    with pytest.raises(InputError, match="no regular file"):
        read_container(tmp_path)
    with pytest.raises(InputError, match="Cannot read .*No such file"):
        read_container(tmp_path / "absent.pth")


def test_tied_weights_are_two_tensors_and_a_thousand_copies_are_refused(tmp_path: Path) -> None:
    shared = torch.randn(1 << 20)
    held = read_container(_save({"a": shared, "b": shared}, tmp_path))
    assert torch.equal(held.tensors["a"], held.tensors["b"])
    assert held.tensors["a"].data_ptr() != held.tensors["b"].data_ptr()
    with pytest.raises(InputError, match="share storages and would take 4000 MiB"):
        read_container(_save({str(i): shared for i in range(1000)}, tmp_path))


def test_attributes_of_tensors_and_protocols(tmp_path: Path) -> None:
    marked = torch.ones(3)
    marked.mark = True  # type: ignore[attr-defined]  # as optimisers do
    for protocol in range(1, 6):
        held = read_container(
            _save(OrderedDict(w=marked, v=nn.Parameter(marked)), tmp_path, pickle_protocol=protocol)
        )
        _same(held.tensors, {"w": torch.ones(3), "v": torch.ones(3)})


def test_nothing_but_the_weights_is_loaded_of_a_file_with_nan(tmp_path: Path) -> None:
    held = read_container(_save({"w": torch.tensor([math.nan, 1.0])}, tmp_path))
    assert torch.isnan(held.tensors["w"][0]) and held.tensors["w"][1] == 1


def test_without_checksums_a_storage_taken_for_another_is_still_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, "unchecked", small_tensors())
    assert "without checksums" in read_container(path).notes[0]
    data = path.read_bytes()
    swapped = data.replace(b"X\x01\x00\x00\x002", b"X\x01\x00\x00\x001", 1)  # equal in shape
    assert swapped != data
    path.write_bytes(swapped)
    with pytest.raises(InputError, match="do not fit together"):
        read_container(path)
