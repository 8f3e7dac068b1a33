"""Which flavour is this? Told by the structure of the names, under any prefix."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...common.errors import InputError
from .flavour import Flavour
from .flavours import FLAVOURS, flavour_named
from .messages import listed
from .refusals import refuse

# a copy of the model that a trainer averages over steps, told by its prefix
_AVERAGED = re.compile(r"(^|[._])(ema|averaged|avg|swa)([._]|$)")


_MAX_MODELS = 64  # in one file, of one flavour; more is no checkpoint, and would take long
_LAST = chr(0x10FFFF)  # sorts behind every character of a name


class Match(NamedTuple):
    """The flavour of a file, and what stands before its names ("" or ending in a dot)."""

    flavour: Flavour
    prefix: str


def identify(
    keys: Iterable[str],
    *,
    source: str = "the file",
    flavour: str | None = None,
    prefix: str | None = None,
) -> Match:
    """Return the one flavour whose names these are; `flavour` and `prefix` are the user's word.

    Every prefix is found by the flavour's classifier, so wrappers (Lightning, DDP, compiled
    modules) need no list. An averaged (EMA) copy beside the model itself is passed over.

    Raises:
        InputError: no flavour fits, several do, or a name inside the network is unknown; says
            what was seen and what was needed.
    """
    keys = sorted(keys)
    found = _chosen(_candidates(keys, flavour), prefix, source)
    if not found:
        refuse(keys, source, flavour)
    if len(found) > 1:
        raise InputError(
            f"Expected one model, but {source} holds {len(found)}: {_described(found)}. Choose one "
            f"with --set prefix={found[0].prefix or repr('')}."
        )
    _require_known(found[0], keys, source)
    return found[0]


def _chosen(found: list[Match], prefix: str | None, source: str) -> list[Match]:
    """Return those under the stated prefix, or without the averaged copies where none is."""
    if prefix is None:
        return [m for m in found if not _AVERAGED.search(m.prefix.rstrip("."))] or found
    wanted = f"{prefix.rstrip('.')}." if prefix else ""
    chosen = [match for match in found if match.prefix == wanted]
    if found and not chosen:
        raise InputError(
            f"Expected a model under the prefix {prefix!r}, but {source} holds models under "
            f"{_prefixes(found)}: correct --set prefix=."
        )
    return chosen


def remarks(match: Match, keys: Iterable[str]) -> tuple[str, ...]:
    """Return notes on the tensors of a file that are no part of the matched network."""
    outside = [key for key in keys if not _inside(match, key)]
    if not outside:
        return ()
    copies = [m.prefix for m in _candidates(sorted(outside), None) if m.prefix != match.prefix]
    notes = [
        f"a second model under {prefix!r} was left out: --set prefix={prefix} reads it instead"
        for prefix in copies
        if prefix
    ]
    rest = [key for key in outside if not any(p and key.startswith(p) for p in copies)]
    if rest:
        notes.append(f"left out {listed(rest)}: no part of the network")
    return tuple(notes)


def _candidates(keys: Sequence[str], stated: str | None) -> list[Match]:
    """Return every flavour and prefix that fits; a stated flavour needs its modules only."""
    flavours = FLAVOURS if stated is None else (flavour_named(stated),)
    found = []
    for flavour in flavours:
        fits = flavour.claims if stated is None else flavour.marked
        for prefix in _anchored(keys, flavour.marks[0]):
            if fits([key[len(prefix) :] for key in _below(keys, prefix)]):
                found.append(Match(flavour, prefix))
    return found


def _below(keys: Sequence[str], prefix: str) -> Sequence[str]:
    """Return those of the sorted keys that begin with `prefix`."""
    return keys[bisect_left(keys, prefix) : bisect_left(keys, f"{prefix}{_LAST}")]


def _anchored(keys: Iterable[str], anchor: str) -> list[str]:
    """Return what stands before `anchor` in the keys, at a dot or at the start.

    >>> _anchored(["a.head.weight", "b.ahead.weight", "head.bias"], "head.")
    ['', 'a.']
    """
    pattern = re.compile(rf"(|.*\.){re.escape(anchor)}")
    prefixes = {match[1] for match in map(pattern.match, keys) if match}
    return sorted(prefixes, key=lambda prefix: (len(prefix), prefix))[:_MAX_MODELS]


def _inside(match: Match, key: str) -> bool:
    rest = key.removeprefix(match.prefix)
    return key.startswith(match.prefix) and rest.startswith(match.flavour.roots)


def _require_known(match: Match, keys: Iterable[str], source: str) -> None:
    """Refuse names inside the network that no row knows: it would not be the whole network."""
    flavour, prefix = match
    unknown = [
        key
        for key in keys
        if _inside(match, key)
        and not any(layout.knows(key[len(prefix) :]) for layout in flavour.layouts)
        and not any(re.match(pattern, key[len(prefix) :]) for pattern in flavour.dropped)
    ]
    if unknown:
        raise InputError(
            f"Expected only SegFormer tensors ({flavour.title}), but {source} also holds "
            f"{listed(unknown)}: this is a changed network; export it with "
            "`segship export FILE --module file.py:Class`."
        )


def _prefixes(found: Iterable[Match]) -> str:
    return ", ".join(sorted({repr(match.prefix) for match in found}))


def _described(found: Iterable[Match]) -> str:
    return ", ".join(f"{match.flavour.name} under {match.prefix!r}" for match in found)
