"""Nothing in a torch file runs: foreign classes are stubs, calls are refused by name."""

from __future__ import annotations

import builtins
import operator
import os
import pickle
import subprocess
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segship.common.errors import InputError
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.unpickler import read_torch_file

LEGACY = {"_use_new_zipfile_serialization": False}


def _assert_same(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert got[name].dtype == tensor.dtype and got[name].shape == tensor.shape
        assert torch.equal(got[name], tensor), name


class Foreign(nn.Module):
    """A class of the training code: unpickling it for real would import this module."""

    ran: list[str] = []

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Foreign.ran.append("setstate")
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's is untyped


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")  # the module is made up
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_pickled_training_classes_become_stubs_and_the_weights_load(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Foreign, "ran", [])
    monkeypatch.setattr(Foreign, "__module__", "some_training_code")
    monkeypatch.setitem(
        __import__("sys").modules, "some_training_code", types.SimpleNamespace(Foreign=Foreign)
    )
    state = {"w": torch.randn(3, 2)}
    content = {
        "state_dict": state,
        "hyper_parameters": {"model": Foreign(), "path": Path("x"), "name": "s"},
        "epoch": 3,
    }
    torch.save(content, tmp_path / "last.ckpt", **options)
    _assert_same(read_torch_file(tmp_path / "last.ckpt"), state)
    assert Foreign.ran == []
    torch.load(tmp_path / "last.ckpt", weights_only=False)
    assert Foreign.ran  # the real unpickler does run it


class Attack:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def _attacks(mark: Path) -> dict[str, Attack]:
    command = f"touch {mark}"
    return {
        "posix.system": Attack(os.system, command),
        "subprocess.Popen": Attack(subprocess.Popen, ["touch", str(mark)]),
        "builtins.eval": Attack(eval, f"open({str(mark)!r}, 'w')"),
        "builtins.exec": Attack(exec, f"open({str(mark)!r}, 'w')"),
        "io.open": Attack(builtins.open, str(mark), "w"),
        "builtins.__import__": Attack(builtins.__import__, "os"),
        "operator.methodcaller": Attack(operator.methodcaller, "system", command),
    }


NAMES = list(_attacks(Path()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_a_pickle_that_would_execute_code_is_refused_by_name_and_does_not_run(
    name: str, options: dict[str, Any], tiny: Path
) -> None:
    mark = tiny.parent / "executed"
    state = {"w": torch.zeros(2), "extra": _attacks(mark)[name]}
    (tiny / "model.safetensors").unlink()
    torch.save(state, tiny / "pytorch_model.bin", **options)
    before = sorted(tiny.rglob("*"))
    with pytest.raises(InputError) as caught:
        load_checkpoint(tiny)
    message = str(caught.value)
    assert f"asks for {name}" in message and "nothing was run" in message
    assert "\n" not in message and caught.value.exit_code == 2
    assert not mark.exists() and sorted(tiny.rglob("*")) == before


def test_that_attack_does_run_in_the_plain_unpickler(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    pickle.loads(pickle.dumps(_attacks(mark)["posix.system"]))  # noqa: S301  # our own bytes
    assert mark.exists()


def test_a_bare_pickle_is_refused_before_a_missing_config_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(pickle.dumps(_attacks(tmp_path / "executed")["posix.system"]))
    with pytest.raises(InputError, match=r"asks for posix\.system"):
        load_checkpoint(file)
    assert not (tmp_path / "executed").exists()


def test_python_2_names_are_known_too(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(b"c__builtin__\neval\n(S'1'\ntR.")
    with pytest.raises(InputError, match=r"asks for builtins\.eval"):
        read_torch_file(file)


def test_a_call_through_a_foreign_module_is_inert(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    call = b"cnumpy.testing._private.utils\nrunstring\n"
    code = f"(S\"open({str(mark)!r}, 'w')\"\n(dtR.".encode()
    (tmp_path / "model.pt").write_bytes(call + code)
    with pytest.raises(InputError, match="truncated or damaged"):
        read_torch_file(tmp_path / "model.pt")
    assert not mark.exists()
