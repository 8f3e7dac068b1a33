"""Torch files, zip and legacy, are read bit-exact or refused in one line."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segship.common.errors import InputError
from segship.models.checkpoints.unpickler import read_torch_file

LEGACY = {"_use_new_zipfile_serialization": False}


def _assert_same(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert got[name].dtype == tensor.dtype and got[name].shape == tensor.shape
        assert torch.equal(got[name], tensor), name


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_every_dtype_view_and_shared_storage_comes_back_bit_exact(
    options: dict[str, Any], tmp_path: Path
) -> None:
    base = torch.randn(4, 6)
    tensors = OrderedDict(
        base=base,
        transposed=base.t(),
        slice=base[1:3, 2:5],
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(3),
        half=base.half(),
        bfloat=base.bfloat16(),
        double=base.double(),
        flags=base > 0,
        bytes=torch.arange(7, dtype=torch.uint8),
        parameter=nn.Parameter(base.clone()),
    )
    torch.save(tensors, tmp_path / "m.bin", **options)
    _assert_same(read_torch_file(tmp_path / "m.bin"), dict(tensors))


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_a_state_dict_of_a_module_comes_back_bit_exact(
    options: dict[str, Any], saved_tiny: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    state = saved_tiny[0].state_dict()
    torch.save(state, tmp_path / "m.bin", **options)
    _assert_same(read_torch_file(tmp_path / "m.bin"), dict(state))


def _rebuild(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Rewrite the pickle inside a zip torch file."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        items = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in items.items():
            archive.writestr(name, change(data) if name.endswith("data.pkl") else data)


def test_a_tensor_that_reaches_past_its_storage_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    torch.save({"w": torch.zeros(5, 3)}, file)
    size = b"K\x05K\x03\x86"
    _rebuild(file, lambda data: data.replace(size, b"K\x50K\x03\x86"))
    with pytest.raises(InputError, match="truncated or damaged"):
        read_torch_file(file)


def test_a_view_that_repeats_a_number_into_a_huge_tensor_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    torch.save({"w": torch.zeros(1).expand(1 << 40)}, file)
    with pytest.raises(InputError, match="larger than its storage"):
        read_torch_file(file)


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_damaged_bytes_load_or_give_one_line_but_never_crash(
    options: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "m.bin"
    torch.save(OrderedDict(w=torch.randn(4, 3), b=torch.arange(5)), file, **options)
    data, random = file.read_bytes(), Random(1)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[random.randrange(len(data))] = random.randrange(256)
        file.write_bytes(damaged)
        try:
            read_torch_file(file)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


def test_a_storage_shorter_than_it_says_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    torch.save({"w": torch.zeros(5, 3)}, file)
    _rebuild(file, lambda data: data.replace(b"K\x0ft", b"K\x10t"))
    with pytest.raises(InputError, match="60 of 64 bytes"):
        read_torch_file(file)


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_a_truncated_file_gives_one_line(
    options: dict[str, Any], kept: float, tmp_path: Path
) -> None:
    file = tmp_path / "m.bin"
    torch.save({"w": torch.randn(50, 30)}, file, **options)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match="truncated or damaged") as caught:
        read_torch_file(file)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    file.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_torch_file(file)
    file.write_bytes(b"hello, this is text")
    with pytest.raises(InputError, match="truncated or damaged"):
        read_torch_file(file)
    torch.save([1, 2], file)
    with pytest.raises(InputError, match="pickled list without any"):
        read_torch_file(file)
    torch.save(torch.zeros(1), file)
    with pytest.raises(InputError, match="save model.state_dict"):
        read_torch_file(file)


def test_legacy_sizes_are_those_of_the_format(tmp_path: Path) -> None:
    """A wrong count before a storage's bytes is noticed, not read over."""
    file = tmp_path / "m.bin"
    torch.save({"w": torch.ones(6)}, file, **LEGACY)
    data = file.read_bytes()
    assert data[-32:-24] == struct.pack("<q", 6)
    file.write_bytes(data[:-32] + struct.pack("<q", 5) + data[-24:])
    with pytest.raises(InputError, match="5 of 6 numbers"):
        read_torch_file(file)
