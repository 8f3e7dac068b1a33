"""Read damaged containers under limits and judge what comes of each; prints one JSON line.

    python -m segship.tests.models.fuzz_run 20000 --seed 1

Run in a process of its own: it limits its memory to 1 GiB more than it starts with and each case
to 5 s of processor time, and a crash ends it with the number of the case in its last line.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from segship.common.errors import InputError
from segship.models.checkpoints.containers import Container, read_container

from .container_files import Tensors
from .fuzz_cases import Case, make_case, raw_bytes
from .fuzz_models import judge_model, model_case
from .fuzz_oracles import parse_safetensors, torch_reads

LIMIT_BYTES, LIMIT_S = 1 << 30, 5
_PLAIN = (str, int, float, bool, type(None))


class Hang(BaseException):
    """A case took too long; no `except Exception` may hide it."""


def _stop(*_: object) -> None:
    raise Hang


def limit_resources() -> None:
    """Allow 1 GiB of address space above what is used now, and turn the timer into `Hang`."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _stop)


def judge(case: Case, path: Path) -> tuple[str, str]:
    """Return ("refused" or "loaded", what is wrong or "")."""
    path.write_bytes(case.data)
    try:
        held = read_container(path)
    except InputError as error:
        return "refused", _wrong_refusal(error, case)
    except Exception as error:  # what this run is there to find
        return "refused", f"{type(error).__name__}: {error}"
    return "loaded", _wrong_load(held, case, path)


def _wrong_refusal(error: InputError, case: Case) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (MemoryError, RecursionError)):
            return f"refused only for {type(cause).__name__}"
        cause = cause.__cause__ or cause.__context__
    if "\n" in str(error) or len(str(error)) > 600:
        return f"not one line: {error}"
    return f"refused a good file: {error}" if case.rule == "exact" else ""


def _wrong_load(held: Container, case: Case, path: Path) -> str:
    if not _is_plain(held.meta) or not held.tensors:
        return "meta holds objects, or there are no tensors"
    if case.rule == "refused":
        return "was read"
    if case.rule == "parsed":
        return _differs(held.tensors, parse_safetensors(case.data))
    if case.rule in ("exact", "whole"):
        return _differs(held.tensors, case.expected)
    if case.rule == "visible" and _looks(held.tensors) == _looks(case.expected):
        return _differs(held.tensors, case.expected)
    if case.rule in ("visible", "same as torch") and case.kind != "safetensors":
        return torch_reads(path, held.tensors)
    return ""


def _is_plain(value: Any) -> bool:
    """Say whether a value holds texts, numbers, lists and dicts only (read bounds its depth)."""
    if isinstance(value, dict):
        return all(isinstance(k, _PLAIN) and _is_plain(v) for k, v in value.items())
    return all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, _PLAIN)


def _looks(tensors: Tensors) -> dict[str, Any]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _differs(got: Tensors, want: Tensors) -> str:
    if _looks(got) != _looks(want):
        return "other names, shapes or dtypes"
    wrong = [name for name in want if raw_bytes(got[name]) != raw_bytes(want[name])]
    return f"other numbers in {wrong}" if wrong else ""


def run(seed: int, start: int, count: int, every: int, folder: Path) -> dict[str, Any]:
    """Judge cases `start` to `start + count`; every `every`-th also loads a whole model."""
    outcomes: Counter[str] = Counter()
    failures = []
    for index in range(start, start + count):
        jobs = [(make_case(seed, index), judge)]
        if every and index % every == 0:
            jobs.append((model_case(seed, index), judge_model))
        for case, judged in jobs:
            try:
                signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
                faulthandler.dump_traceback_later(20 * LIMIT_S, exit=True)
                outcome, wrong = judged(case, folder / "m.pth")
            except Hang:
                outcome, wrong = "refused", f"took over {LIMIT_S} s"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                faulthandler.cancel_dump_traceback_later()
            outcomes[f"{case.rule} {outcome}"] += 1
            if wrong:
                failures.append([index, case.name, case.kind, case.rule, wrong[:300]])
    return {"outcomes": dict(outcomes), "failures": failures}


def main() -> None:
    """Read the arguments, warm up, and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--models-every", type=int, default=20, metavar="N")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # torch deprecates what old files hold
    torch.set_num_threads(1)
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        run(args.seed, 0, 20, 1, Path(folder))  # imports and caches, before the limit
        limit_resources()
        result = run(args.seed, args.start, args.count, args.models_every, Path(folder))
    print(json.dumps(result))
    sys.exit(bool(result["failures"]))


if __name__ == "__main__":
    main()
