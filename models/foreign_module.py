"""Any torch network as a segmentation model, where no reader knows its checkpoint.

The user names a Python file and a class in it; that file is executed, which nothing else in
segship does. The weights are read as data, as those of every checkpoint are.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import InputError
from ..common.files import existing_path
from ..data.contract import DEPTH_HEAD
from .checkpoints.messages import listed, one_line

_KEYS = ("logits", "out")  # what libraries call the segmentation in a dict
_COUNTER = "num_batches_tracked"  # not stored by every version, and not used at inference
_MODULE_NAME = "segship_user_module"


class ForeignModule(nn.Module):
    """A network of the user: (B,3,H,W) float32, normalised → {head: (B,K,h,w)}.

    `full_size` tells that outputs have the input's height and width.
    """

    def __init__(self, network: nn.Module, heads: tuple[str, ...], *, full_size: bool) -> None:
        """Wrap `network`, which returns `heads` in this order or under these names."""
        super().__init__()
        self.network, self.heads, self.full_size = network, heads, full_size

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return one tensor per head."""
        return named_outputs(self.network(pixels), self.heads)


def load_network(weights: Path, module: str, arguments: str | None = None) -> nn.Module:
    """Build the class `module` ("FILE.py:CLASS") names and fill it with `weights`, strictly.

    FILE.py is executed; it may import what lies beside it. `arguments` is a JSON object of keyword
    arguments. A prefix that every stored name has (`module.`, `model.`) is removed where the
    names fit without it. The network is in evaluation mode, float32, without gradients.

    Raises:
        InputError: no such file or class, it fails, it is no torch module, or the weights are
            not exactly its own.
    """
    path, name = _split(module)
    keywords = _arguments(arguments)
    existing_path(weights, "a file of weights")
    network = _build(path, name, keywords)
    stored = _read_weights(weights)
    _fill(network, stored, f"{path.name}:{name}", weights)
    return network.float().requires_grad_(False).eval()


def named_outputs(result: object, heads: tuple[str, ...]) -> dict[str, Tensor]:
    """Return by head what a network returned: a tensor, a tuple in the order of `heads`, a dict.

    In a dict a head is found under its own name; what is not depth also under "logits" or "out".

    Raises:
        InputError: a head is missing, or is no tensor.
    """
    found: list[Any] = []
    if isinstance(result, Mapping):
        found = [_from_dict(result, head) for head in heads]
    elif isinstance(result, Tensor):
        found = [result]
    elif isinstance(result, Sequence):
        found = list(result[: len(heads)])
    if len(found) < len(heads) or not all(isinstance(item, Tensor) for item in found):
        raise InputError(
            f"Expected a tensor per head ({', '.join(heads)}) from the network: a tensor, a tuple, "
            f"or a dict with 'logits' or 'out', but got {_describe(result)}: return one of these."
        )
    return dict(zip(heads, found, strict=True))


def _from_dict(result: Mapping[Any, Any], head: str) -> Any:
    names = (head,) if head == DEPTH_HEAD else (head, *_KEYS)
    return next((result[name] for name in names if name in result), None)


def _describe(result: object) -> str:
    if isinstance(result, Mapping):
        return f"a dict of {listed(map(str, result)) or 'nothing'}"
    if isinstance(result, (tuple, list)):
        return f"a {type(result).__name__} of {listed(type(item).__name__ for item in result)}"
    return f"a {type(result).__name__}"


def _split(module: str) -> tuple[Path, str]:
    file, colon, name = module.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise InputError(f"Expected --module FILE.py:CLASS, but got {module!r}.")
    path = Path(file)
    if not path.is_file():
        raise InputError(f"Expected the file of --module, but {path} does not exist: check it.")
    return path, name


def _arguments(text: str | None) -> dict[str, Any]:
    try:
        values = json.loads(text or "{}")
    except ValueError as error:
        raise InputError(
            f"Expected --module-args as JSON, but {one_line(error)}: try '{{\"classes\": 19}}'."
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"Expected a JSON object as --module-args, but got {text}.")
    return values


def _build(path: Path, name: str, keywords: dict[str, Any]) -> nn.Module:
    """Execute the file and call what it defines under `name`."""
    with _beside(path):
        module = _user_code(lambda: _execute(path), f"{path} to be executed")
        factory = getattr(module, name, None)
        if not callable(factory):
            names = [key for key, item in vars(module).items() if isinstance(item, type)]
            raise InputError(
                f"Expected a class {name} in {path}, but it has {listed(names) or 'no class'}: "
                "correct --module."
            )
        network = _user_code(lambda: factory(**keywords), f"{name} to be built")
    if not isinstance(network, nn.Module):
        raise InputError(
            f"Expected {name} to be a torch.nn.Module, but got {type(network).__name__}: "
            "correct --module."
        )
    return network


def _execute(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_MODULE_NAME, path)
    if spec is None or spec.loader is None:  # pragma: no cover - a .py file always has a loader
        raise InputError(f"Expected a Python file, but Python cannot load {path}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE_NAME] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[_MODULE_NAME]
    return module


def _user_code(call: Callable[[], Any], what: str) -> Any:
    try:
        return call()
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(
            f"Expected {what}, but it raised {type(error).__name__}: {one_line(error)}: "
            "correct it, --module or --module-args."
        ) from error


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Let the file import what lies beside it."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _read_weights(weights: Path) -> dict[str, Tensor]:
    from .checkpoints.containers import read_container

    return read_container(weights).tensors


def _fill(network: nn.Module, stored: dict[str, Tensor], title: str, weights: Path) -> None:
    """Load `stored` into `network`; every tensor has its place and every place its tensor."""
    expected = network.state_dict()
    prefix = _prefix(expected, stored)
    tensors = {key.removeprefix(prefix): tensor for key, tensor in stored.items()}
    counters = {key: value for key, value in expected.items() if key.endswith(_COUNTER)}
    tensors = {**{key: value for key, value in counters.items() if key not in tensors}, **tensors}
    missing, unexpected = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unexpected:
        parts = [f"lacks {listed(missing)}"] if missing else []
        parts += [f"also holds {listed(unexpected)}"] if unexpected else []
        raise InputError(
            f"Expected exactly the {len(expected)} tensors of {title}, but {weights} "
            f"{' and '.join(parts)}: name its own class and arguments."
        )
    for key, tensor in expected.items():
        if tensors[key].shape != tensor.shape:
            raise InputError(
                f"Expected {key!r} of shape {tuple(tensor.shape)} by {title}, but {weights} holds "
                f"{tuple(tensors[key].shape)}: correct --module-args."
            )
        if tensors[key].is_floating_point() and not bool(torch.isfinite(tensors[key]).all()):
            raise InputError(
                f"Expected finite weights, but {key!r} in {weights} holds NaN or infinity: "
                "use an earlier checkpoint of that training."
            )
    network.load_state_dict(tensors)


def _prefix(expected: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> str:
    """Return the prefix all stored names have that makes them expected ones, or ""."""
    if not stored or not expected or stored.keys() & expected.keys():
        return ""
    first = next(iter(stored))
    cuts = [first[:end] for end, letter in enumerate(first, 1) if letter == "."]
    for prefix in cuts:
        if all(key.startswith(prefix) for key in stored) and any(
            key.removeprefix(prefix) in expected for key in stored
        ):
            return prefix
    return ""
