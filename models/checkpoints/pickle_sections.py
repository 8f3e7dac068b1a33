"""Where in a pickled checkpoint the weights of the network lie, and which of them to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...common.errors import InputError
from .messages import listed
from .pickle_values import Blob, Stub, TensorPlan, Unreadable

Named = dict[str, TensorPlan | Unreadable]

# keys that hold the weights, likelier first
STATE_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model_weights",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "module",
)
# keys that hold a running average of them
EMA_KEYS = (
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema_model_state_dict",
    "model_ema_state_dict",
    "ema",
    "params_ema",
)
# what holds them inside such a value
_INNER_KEYS = ("state_dict", "module", "shadow", "model", "ema")
_WRAPPERS = ("module.", "_orig_mod.")
_MAX_DEPTH = 64  # of modules in modules
_MAX_TENSORS = 20_000


@dataclass(frozen=True)
class Choice:
    """The weights to read, the container they lie in, and what a user must know of the choice.

    `used` are the keys at the top whose values are weights.
    """

    kind: str
    plans: dict[str, TensorPlan]
    notes: tuple[str, ...]
    used: frozenset[str] = frozenset()


def choose(root: Any, path: str) -> Choice:
    """Find the weights in a pickled value.

    Raises:
        InputError: there are none, they are encrypted, or no dense arrays of numbers.
    """
    if not isinstance(root, dict):
        return _whole(root, path)
    _refuse_encrypted(root, path)
    kind = container_kind(root)
    raw = _sections(root, STATE_KEYS)
    averaged = _sections(root, EMA_KEYS)
    direct = _named(root)
    if len(direct) > max(map(len, [*raw.values(), *averaged.values()]), default=0):
        return Choice("plain", _dense(direct, path), (), frozenset(direct))
    if not raw and not averaged:
        raw = _only_section(root, path)
    key, notes = _pick(kind, raw, averaged)
    used = frozenset((*raw, *averaged))
    return Choice(kind, _dense({**raw, **averaged}[key], path), notes, used)


def container_kind(root: dict[Any, Any]) -> str:
    """Return the kind of container, told by the keys at its top."""
    meta = root.get("meta")
    if "tao_model" in root or "tao_version" in root or "state_dict_encrypted" in root:
        return "tao"
    if "pytorch-lightning_version" in root:
        return "lightning"
    if "message_hub" in root or (isinstance(meta, dict) and "mmengine_version" in meta):
        return "mmengine"
    if isinstance(meta, dict) and "state_dict" in root:
        return "mmcv"
    return "dict"


def _pick(
    kind: str, raw: dict[str, Named], averaged: dict[str, Named]
) -> tuple[str, tuple[str, ...]]:
    """Return the key to read and the notes; never a mix of two."""
    first, mean = next(iter(raw), None), next(iter(averaged), None)
    others = [key for key in (*raw, *averaged) if key not in (first, mean)]
    notes = (f"other weights in the file were left out: {', '.join(others)}",) if others else ()
    if first is None or mean is None:
        only = first or mean or ""
        if first is None:
            notes = (f"the weights are the running average (EMA) under {only!r}", *notes)
        return only, notes
    if kind == "mmengine":  # its hook swaps the two when it saves
        note = f"the weights under {first!r} are the running average (EMA), as mmengine saves them"
        return first, (f"{note}; the last step's under {mean!r} were left out", *notes)
    if _covers(averaged[mean], raw[first]):
        note = f"the weights are the running average (EMA) under {mean!r}, which training evaluates"
        return mean, (f"{note}; the last step's under {first!r} were left out", *notes)
    note = f"the weights are those under {first!r}: {mean!r} does not hold all of them"
    return first, (note, *notes)


def _covers(averaged: Named, raw: Named) -> bool:
    """Say whether an average holds every tensor, of the same shape."""
    found = {_bare(name): getattr(plan, "shape", None) for name, plan in averaged.items()}
    return all(
        found.get(_bare(name), ()) == getattr(plan, "shape", None) for name, plan in raw.items()
    )


def _bare(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _sections(root: dict[Any, Any], keys: tuple[str, ...]) -> dict[str, Named]:
    found = {key: _inside(root[key]) for key in keys if key in root}
    return {key: named for key, named in found.items() if named}


def _inside(value: Any) -> Named:
    """Return the named tensors of a state dict, a pickled module, or one more level of keys."""
    named = _named(value)
    entries = _entries(value)
    for key in _INNER_KEYS:
        inner = _named(entries.get(key))
        if len(inner) > len(named):
            return inner
    return named


def _named(value: Any) -> Named:
    if isinstance(value, Stub) and value.items is None:
        return _module(value)
    return {
        name: plan
        for name, plan in _entries(value).items()
        if isinstance(plan, (TensorPlan, Unreadable)) and type(name) is str
    }


def _entries(value: Any) -> dict[Any, Any]:
    """Return what a dict, a stub of a dict, or an object's attributes hold by name."""
    if isinstance(value, Stub):
        value = value.items if value.items is not None else value.state
    return value if isinstance(value, dict) else {}


def _module(root: Stub) -> Named:
    """Return the state dict of a pickled nn.Module, from what it would be restored from."""
    found: Named = {}
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    steps = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        steps += 1
        state = module.state if isinstance(module, Stub) else None
        if not isinstance(state, dict) or depth > _MAX_DEPTH or steps > _MAX_TENSORS:
            continue
        hidden = state.get("_non_persistent_buffers_set") or ()
        for part in ("_parameters", "_buffers"):
            for name, plan in _entries(state.get(part)).items():
                if isinstance(plan, (TensorPlan, Unreadable)) and name not in hidden:
                    found[f"{prefix}{name}"] = plan
        for name, child in _entries(state.get("_modules")).items():
            waiting.append((f"{prefix}{name}.", child, depth + 1))
    return found


def _whole(root: Any, path: str) -> Choice:
    plans = _inside(root) if isinstance(root, Stub) else {}
    if not plans:
        kind = root.name if isinstance(root, Stub) else _type_name(root)
        raise InputError(
            f"Expected named tensors, but {path} holds a pickled {kind} without "
            "any: save model.state_dict()."
        )
    note = "the file is a whole pickled model: its weights were read, its class was not run"
    return Choice("module", _dense(plans, path), (note,))


def _type_name(root: Any) -> str:
    return {"TensorPlan": "tensor", "NoneType": "None"}.get(
        type(root).__name__, type(root).__name__
    )


def _only_section(root: dict[Any, Any], path: str) -> dict[str, Named]:
    """Return the weights under a key of any name, if there is exactly one."""
    found = {
        str(key): named
        for key, value in root.items()
        if not str(key).startswith(("optim", "hyper_parameters")) and (named := _inside(value))
    }
    if len(found) > 1:
        raise InputError(
            f"Expected one dict of weights, but {path} holds {listed(found)}: save the "
            "state_dict() of the whole model."
        )
    if not found:
        raise InputError(
            f"Expected named tensors, but {path} holds a pickled dict without any "
            f"({listed(map(str, root)) or 'it is empty'}): save model.state_dict()."
        )
    return found


def _refuse_encrypted(root: dict[Any, Any], path: str) -> None:
    if root.get("state_dict_encrypted") or isinstance(root.get("state_dict"), Blob):
        raise InputError(
            f"Expected readable weights, but {path} was encrypted by NVIDIA TAO: decrypt it with "
            "its key in TAO (or train with encryption_key unset) and save it again."
        )


def _dense(named: Named, path: str) -> dict[str, TensorPlan]:
    if len(named) > _MAX_TENSORS:
        raise InputError(f"Expected a SegFormer, but {path} holds {len(named)} tensors.")
    for name, plan in named.items():
        if isinstance(plan, Unreadable):
            raise InputError(
                f"Expected dense floating-point weights, but {name[:100]!r} in {path} is a "
                f"tensor {plan.kind}: save the weights from before that conversion."
            )
    return {name: plan for name, plan in named.items() if isinstance(plan, TensorPlan)}
