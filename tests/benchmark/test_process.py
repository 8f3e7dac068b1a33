"""The worker protocol with real children: replies, refusals, death, silence, and no orphans."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import psutil
import pytest

from segship.benchmark.process import WorkerProcess
from segship.benchmark.turn import open_in, open_turn
from segship.benchmark.worker import PARTS, Worker
from segship.common.errors import CheckFailedError, InputError
from segship.data.scenes import Scenes

Tiny = Callable[..., Any]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    with WorkerProcess("a worker", timeout_s=120) as process:
        yield process


def test_open_run_and_memory_of_a_real_model(worker: WorkerProcess, tiny: Tiny) -> None:
    turn = open_in(worker, tiny().candidate)
    assert (turn.candidate.runtime, turn.candidate.precision) == ("onnxruntime", "fp32")
    assert turn.candidate.threads == 1
    assert turn.contract == tiny().contract
    assert turn.input_shape == (1, 3, 64, 96)
    times = turn.run(7)
    assert len(times) == 7 and min(times) > 0
    memory = worker.request("memory")
    assert 5 < memory["before_mib"] < memory["peak_mib"] < 2000


def test_frame_is_split_into_parts_that_add_up(worker: WorkerProcess, tiny: Tiny) -> None:
    import base64

    turn = open_in(worker, tiny().candidate)
    image = base64.b64encode(Scenes(1).image_bytes(0)).decode()
    times = turn.frame(image, 3)
    assert set(times) == {*PARTS, "total"}
    parts = np.sum([times[name] for name in PARTS], axis=0)
    assert np.allclose(parts, times["total"], rtol=0, atol=1e-6)  # float sums of the same marks


def test_torch_gets_the_candidates_threads_for_its_post_processing(tiny: Tiny) -> None:
    import base64

    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        here = Worker()
        here.open(
            source=tiny().candidate.source, runtime="onnxruntime", precision="fp32", threads=1
        )
        image = base64.b64encode(Scenes(1).image_bytes(0)).decode()
        here.frame(image=image, runs=1, size_px=None, postprocess="sparse")
        assert torch.get_num_threads() == 2
        here.frame(image=image, runs=1, size_px=None, postprocess="dense-torch")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_dynamic_model_takes_another_size_and_batch_a_static_one_refuses(
    worker: WorkerProcess, tiny: Tiny
) -> None:
    turn = open_in(worker, tiny("dynamic", dynamic=True).candidate).at((96, 128), 2)
    assert turn.input_shape == (2, 3, 96, 128)
    assert len(turn.run(2)) == 2
    with WorkerProcess("static") as other:
        static = open_in(other, tiny().candidate)
        with pytest.raises(InputError, match=r"takes batch 2 of 64x96, .* export with --dynamic"):
            static.at(None, 2)
        assert len(static.run(1)) == 1  # a refusal leaves the worker usable


def test_errors_come_back_with_the_products_own_message(worker: WorkerProcess) -> None:
    with pytest.raises(InputError, match=r"a worker: .*no_such\.onnx"):
        worker.request("open", source="no_such.onnx", runtime="auto", precision="auto", threads=1)
    with pytest.raises(InputError, match="nothing was opened"):
        worker.request("run", runs=1, batch=1, size_px=None)
    with pytest.raises(CheckFailedError, match="KeyError"):
        worker.request("dance")


def test_what_libraries_print_never_mixes_with_replies() -> None:
    code = (
        "import os, sys; from segship.benchmark import worker; out = worker.claim_stdout();"
        "print('python noise'); os.write(1, b'C noise\\n'); worker.serve(sys.stdin, out)"
    )
    with WorkerProcess("noisy", command=python(code)) as noisy:
        assert noisy.request("memory")["peak_mib"] > 1


def test_onnxruntime_worker_never_imports_torch(tiny: Tiny) -> None:
    code = (
        "import sys; from segship.benchmark import worker; out = worker.claim_stdout();"
        "w = worker.Worker(); w._commands['modules'] = lambda: {'torch': 'torch' in sys.modules};"
        "worker.Worker = lambda: w; worker.serve(sys.stdin, out)"
    )
    import base64

    image = base64.b64encode(Scenes(1).image_bytes(0)).decode()
    with WorkerProcess("lean", command=python(code)) as lean:
        turn = open_in(lean, tiny().candidate)
        turn.frame(image, 1)
        assert lean.request("modules") == {"torch": False}


def test_a_worker_that_dies_is_an_error_with_its_code_and_last_words() -> None:
    code = "import sys; sys.stdin.readline(); sys.stderr.write('one\\nout of luck\\n'); sys.exit(3)"
    with WorkerProcess("doomed", command=python(code)) as doomed:
        with pytest.raises(CheckFailedError) as caught:
            doomed.request("run", runs=1)
    assert str(caught.value) == (
        "doomed: the worker ended during 'run' with exit code 3 and said: out of luck"
    )


def test_a_killed_worker_says_so(worker: WorkerProcess) -> None:
    psutil.Process(worker.pid).kill()
    with pytest.raises(CheckFailedError, match="exit code -9 \\(killed, perhaps for memory\\)"):
        worker.request("memory")


def test_a_silent_worker_is_ended_after_its_time() -> None:
    with WorkerProcess("silent", command=python("import time; time.sleep(60)")) as silent:
        with pytest.raises(CheckFailedError, match=r"within 0\.2 s"):
            silent.request("memory", timeout_s=0.2)
        assert not alive(silent.pid)


def test_babble_is_no_reply() -> None:
    with WorkerProcess("babbler", command=python("input(); print('hello')")) as babbler:
        with pytest.raises(CheckFailedError, match="no JSON reply"):
            babbler.request("memory")


def test_an_interrupt_leaves_no_child(tiny: Tiny) -> None:
    pids = []
    with pytest.raises(KeyboardInterrupt):
        with ExitStack() as stack:
            for _ in range(2):
                turn = open_turn(tiny().candidate, stack)
                pids.append(turn.worker.pid)
            raise KeyboardInterrupt
    assert len(pids) == 2 and not any(map(alive, pids))


def test_a_child_ends_when_its_parent_is_gone() -> None:
    code = (
        "from segship.benchmark.process import WorkerProcess; import os;"
        "w = WorkerProcess('orphan'); w.request('memory'); print(w.pid, flush=True); os._exit(1)"
    )
    import subprocess

    done = subprocess.run(python(code), capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    for _ in range(200):
        if not alive(pid):
            return
        time.sleep(0.05)
    raise AssertionError(f"worker {pid} outlived its parent")


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
