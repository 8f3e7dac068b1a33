"""Compiling and keeping kernels: with a made-up NVRTC, and with real ones where they lie around."""

from __future__ import annotations

import glob
import itertools
import os
import re
import subprocess
from pathlib import Path

import pytest

from segship.common.errors import CheckFailedError, InputError, MissingDependencyError
from segship.runtimes.cuda import nvrtc
from segship.runtimes.cuda.labels import SOURCE, source
from segship.runtimes.cuda.nvrtc import Nvrtc, Target, compiled, find_nvrtc, target_for

# Turing, Ampere, Orin, Ada, Hopper: what TensorRT 8.6 to 11 run on
CAPABILITIES = ("7.5", "8.0", "8.6", "8.7", "8.9", "9.0")
ELF = b"\x7fELF"


class CountingNvrtc(Nvrtc):
    """Compiles nothing, and counts how often it was asked to."""

    def __init__(self, version: tuple[int, int] = (12, 4)) -> None:
        self.found, self.calls, self.result = version, 0, b"image"

    def version(self) -> tuple[int, int]:
        return self.found

    def architectures(self) -> tuple[int, ...]:
        return (75, 80, 87)

    def compile(self, source: bytes, name: str, target: Target) -> bytes:
        self.calls += 1
        return self.result + target.architecture.encode() + source + name.encode()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; where the kernels go in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "segship" / "kernels"


def _real_libraries() -> list[str]:
    pattern = os.environ.get("SEGSHIP_LIBNVRTC", "")
    found = glob.glob(pattern, recursive=True) if pattern else []
    if not found:
        try:
            found = [find_nvrtc().path]
        except MissingDependencyError:
            pytest.skip("needs libnvrtc: set SEGSHIP_LIBNVRTC to files of NVIDIA's wheels")
    return sorted(found)


def test_kept_once_compiled(cache: Path) -> None:
    compiler = CountingNvrtc()
    first = compiled(b"code", "k.cu", "8.7", compiler)
    assert first == compiled(b"code", "k.cu", "8.7", compiler) == b"imagesm_87codek.cu"
    assert compiler.calls == 1 and len(list(cache.iterdir())) == 1


def test_another_source_gpu_or_compiler_is_compiled_again(cache: Path) -> None:
    compiler = CountingNvrtc()
    for code, capability in ((b"code", "8.7"), (b"code ", "8.7"), (b"code", "8.0")):
        compiled(code, "k.cu", capability, compiler)
    assert compiler.calls == 3
    newer = CountingNvrtc((12, 5))
    compiled(b"code", "k.cu", "8.7", newer)
    assert newer.calls == 1 and len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 80])
def test_a_damaged_file_is_compiled_again(cache: Path, damage: bytes) -> None:
    compiler = CountingNvrtc()
    image = compiled(b"code", "k.cu", "8.7", compiler)
    next(cache.iterdir()).write_bytes(damage)
    assert compiled(b"code", "k.cu", "8.7", compiler) == image
    assert compiled(b"code", "k.cu", "8.7", compiler) == image
    assert compiler.calls == 2


def test_a_cache_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")
    compiler = CountingNvrtc()
    assert compiled(b"a", "k.cu", "8.7", compiler) == compiled(b"a", "k.cu", "8.7", compiler)
    assert compiler.calls == 2


def test_a_gpu_newer_than_the_compiler_gets_ptx_and_an_older_one_advice() -> None:
    assert target_for("8.6", (75, 80, 87)) == Target("compute_80", False)
    assert target_for("10.0", (75, 80, 87)) == Target("compute_87", False)
    with pytest.raises(InputError, match="capability 7.2, but its oldest is 7.5: install an older"):
        target_for("7.2", (75, 80))


def test_a_compiler_newer_than_the_driver_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"13": CountingNvrtc((13, 0)), "12": CountingNvrtc((12, 9))}

    def load(path: str) -> Nvrtc:
        if path not in found:
            raise MissingDependencyError("not there")
        return found[path]

    monkeypatch.setattr(nvrtc, "Nvrtc", load)
    monkeypatch.setattr(nvrtc, "library_candidates", lambda: ["missing", "13", "12"])
    assert find_nvrtc("12.2") is found["12"]
    assert find_nvrtc("13.0") is find_nvrtc() is found["13"]
    with pytest.raises(MissingDependencyError, match="only 13.0, too new for the driver's CUDA 11"):
        find_nvrtc("11.8")
    monkeypatch.setattr(nvrtc, "library_candidates", lambda: ["missing"])
    with pytest.raises(MissingDependencyError, match=r"found none: pip install nvidia-cuda-nvrtc"):
        find_nvrtc("12.2")


def test_wheels_are_found_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[str] = []
    for part, number in (("cuda_nvrtc", 12), ("cu13", 13)):
        library = tmp_path / "nvidia" / part / "lib" / f"libnvrtc.so.{number}"
        library.parent.mkdir(parents=True)
        for name in (library.name, f"libnvrtc-builtins.so.{number}.0", "libnvrtc.alt.so.12"):
            (library.parent / name).touch()
        wanted.insert(0, str(library))
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert nvrtc.library_candidates()[:3] == [*wanted, "libnvrtc.so.13"]


def test_a_library_that_is_none_is_refused_in_one_line() -> None:
    with pytest.raises(MissingDependencyError, match=r"NVRTC 11.2 or newer.*pip install"):
        Nvrtc("libnvrtc-none.so")
    with pytest.raises(MissingDependencyError, match=r"nvrtcVersion"):
        Nvrtc("libc.so.6")


def test_real_compilers_make_binaries_for_every_gpu() -> None:
    for path in _real_libraries():
        compiler = Nvrtc(path)
        for capability in CAPABILITIES:
            image = compiler.compile(
                source(), SOURCE, target_for(capability, compiler.architectures())
            )
            assert image.startswith(ELF)
            for name in re.findall(rb"^L\w+\((l\w+),", source(), re.MULTILINE):
                assert name in image


def test_no_product_is_fused_with_a_sum() -> None:
    """PTX: a plain mul or add may be fused by the assembler, one with .rn never is.

    https://docs.nvidia.com/cuda/parallel-thread-execution/#floating-point-instructions-mul
    """
    for path in _real_libraries():
        compiler = Nvrtc(path)
        oldest = max(75, min(compiler.architectures()))
        ptx = compiler.compile(source(), SOURCE, Target(f"compute_{oldest}", False)).decode()
        found = re.findall(r"\b((?:fma|mad|mul|add|sub|div)\.\S*f32)\b", ptx)
        assert {"mul.rn.f32", "add.rn.f32"} == set(found)
        assert ".ftz" not in ptx and ptx.endswith("\0")


def test_no_machine_code_fuses_a_product_with_a_sum(tmp_path: Path) -> None:
    """What runs in the end; SEGSHIP_NVDISASM=FILE names NVIDIA's disassembler."""
    disassembler = os.environ.get("SEGSHIP_NVDISASM", "")
    if not disassembler:
        pytest.skip("needs nvdisasm: set SEGSHIP_NVDISASM to the file of NVIDIA's wheel")
    binary = tmp_path / "labels.cubin"
    for path, capability in itertools.product(_real_libraries(), CAPABILITIES):
        compiler = Nvrtc(path)
        target = target_for(capability, compiler.architectures())
        binary.write_bytes(compiler.compile(source(), SOURCE, target))
        command = [disassembler, "-c", str(binary)]
        code = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert "FMUL" in code and "FADD" in code
        assert not re.search(r"\bFFMA|\.FTZ", code)


def test_a_real_compiler_says_what_is_wrong_in_one_line() -> None:
    compiler = Nvrtc(_real_libraries()[0])
    with pytest.raises(CheckFailedError, match=r"bad.cu to compile for sm_80.*undefined") as caught:
        compiler.compile(
            b'extern "C" __global__ void k() { nothing(); }', "bad.cu", Target("sm_80", True)
        )
    assert "\n" not in str(caught.value)
