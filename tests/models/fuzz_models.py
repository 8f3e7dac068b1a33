"""Damaged files of whole models: load_checkpoint refuses them, or gives exactly the good model."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch

from segship.common.errors import InputError
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.checkpoints.flavours import FLAVOURS

from .container_files import Tensors
from .flavour_files import CONTAINERS, tiny_tensors, write_container
from .fuzz_cases import Case, raw_bytes

# the keys that tell NVlabs' layout from sithu's, whose eps differs: without them it is the other
_TELLTALE = "conv_seg"


@cache
def _tensors(name: str) -> Tensors:
    return tiny_tensors(name)


def _file(tensors: Tensors, container: str) -> bytes:
    with TemporaryDirectory() as folder:
        return write_container(Path(folder), tensors, "model", container).read_bytes()


@cache
def _good(name: str, path: Path) -> Checkpoint:
    path.write_bytes(_file(_tensors(name), "plain"))
    return load_checkpoint(path)


def model_case(seed: int, index: int) -> Case:
    """Return the case of a number; `kind` is the flavour."""
    random = Random(f"model-{seed}-{index}")
    name = random.choice([flavour.name for flavour in FLAVOURS])
    container = random.choice(CONTAINERS)
    change = random.choice(
        ("flipped", "truncated", "dropped", "reshaped", "poisoned", "integers", "shuffled")
    )
    tensors = dict(_tensors(name))
    key = random.choice([key for key in tensors if _TELLTALE not in key])
    if change == "dropped":
        del tensors[key]
    elif change == "reshaped":
        shape = [*tensors[key].shape, 1] if random.random() < 0.5 else [tensors[key].numel() + 1]
        tensors[key] = torch.zeros(shape)
    elif change == "poisoned" and tensors[key].numel():
        values = tensors[key].double().flatten()
        values[random.randrange(len(values))] = random.choice((math.nan, math.inf))
        tensors[key] = values.reshape(tensors[key].shape)
    elif change == "integers":
        tensors[key] = tensors[key].to(torch.int8)
    elif change == "shuffled":
        order = random.sample(list(tensors), len(tensors))
        tensors = {f"module.{key}": tensors[key] for key in order}
    if change == "flipped":  # elsewhere nobody could see it
        container = random.choice([c for c in CONTAINERS if c not in ("legacy", "safetensors")])
    data = bytearray(_file(tensors, container))
    if change == "truncated":
        del data[random.randrange(len(data)) :]
    elif change == "flipped":
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    rule = "good model" if change == "shuffled" else "model"
    return Case(f"model {change} {key}", name, bytes(data), rule, {})


def judge_model(case: Case, path: Path) -> tuple[str, str]:
    """Return ("refused" or "loaded", what is wrong or "")."""
    good = _good(case.kind, path)
    path.write_bytes(case.data)
    try:
        loaded = load_checkpoint(path)
    except InputError as error:
        bad = "\n" in str(error) or case.rule == "good model"
        return "refused", str(error) if bad else ""
    except Exception as error:  # what this run is there to find
        return "refused", f"{type(error).__name__}: {error}"
    got, want = loaded.model.state_dict(), good.model.state_dict()
    if got.keys() != want.keys():
        return "loaded", "another architecture"
    wrong = [
        name
        for name in want
        if not name.endswith("num_batches_tracked")
        and raw_bytes(got[name]) != raw_bytes(want[name])
    ]
    if wrong or loaded.spec.heads != good.spec.heads or loaded.spec.eps != good.spec.eps:
        return "loaded", f"another model: {wrong[:3]}"
    return "loaded", ""
