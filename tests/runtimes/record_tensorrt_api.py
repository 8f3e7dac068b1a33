"""Write the names of a real TensorRT into tensorrt_api/VERSION.json, without a GPU.

    python tests/runtimes/record_tensorrt_api.py --version 10.3.0 --version 11.4.0.106
    python tests/runtimes/record_tensorrt_api.py --wheel tensorrt-8.6.0-cp310-….whl

The module of the wheel is imported in a child; libraries that are not there (the real ones need
a GPU machine or are large) are replaced by empty ones that export the symbols it asks for.
Needs gcc, binutils and the Python the wheel was built for (pyenv, or python3.X on the PATH).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "tensorrt_api"
# 8.6.0 is the last release whose own wheel holds the module; later ones ship it apart.
PYTHON_OF_8 = "3.10"
PYTHON_OF_10 = "3.11"


def download(version: str, folder: Path) -> Path:
    """Fetch the wheel that holds the module of `version` with pip."""
    old = version.startswith("8.")
    package, python = ("tensorrt", PYTHON_OF_8) if old else ("tensorrt-cu12-bindings", PYTHON_OF_10)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for platform in ("manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux_2_31_x86_64"):
        command += ["--platform", platform]
    subprocess.run([*command, f"{package}=={version}"], check=True)
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpack all but the large libraries; return the module's shared object."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/lib" not in name:
                archive.extract(name, folder)
    return next(folder.glob("tensorrt*/tensorrt*.so"))


def write_stubs(module: Path, folder: Path) -> None:
    """Write one empty library for each that `module` needs and a loader would not find."""
    dynamic = _read("readelf", "-dW", str(module))
    needed = re.findall(r"NEEDED\).*\[(libnv[^\]]+)\]", dynamic)
    lines = [line.split() for line in _read("objdump", "-T", str(module)).splitlines()]
    asked = [line for line in lines if "*UND*" in line and "w" not in line]
    free = [line[-1] for line in asked if "_INTERNAL" in line[-1] or _is_nvidia(line)]
    source = folder / "stub.c"
    source.write_text("".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(set(free))))
    for name in needed:
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([*command, str(source)], check=True)


def _is_nvidia(line: list[str]) -> bool:
    """Say whether an undefined symbol is neither versioned (libc, libstdc++) nor Python's."""
    versioned = any(re.search(r"GLIBC|CXXABI|GCC_", part) for part in line)
    return not versioned and not re.match(r"_?Py|dl(open|sym|close|error)$|__", line[-1])


def _read(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def python_for(module: Path, wheel: Path) -> str:
    """Return the interpreter the wheel asks for: a cp3X tag, else that of its generation."""
    tag = re.search(r"-cp3(\d+)-", wheel.name)
    minor = tag[1] if tag else PYTHON_OF_10.split(".")[1]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = sorted(root.glob(f"3.{minor}.*/bin/python3.{minor}"))
    path = str(found[-1]) if found else shutil.which(f"python3.{minor}")
    if not path:
        sys.exit(f"Expected Python 3.{minor} for {module.name}, but found none: install it.")
    return path


def record(wheel: Path, work: Path) -> Path:
    """Import the module of `wheel` and write its record; returns the written path."""
    module = unpack(wheel, work)
    write_stubs(module, work)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(work), "PYTHONPATH": str(work)}
    command = [python_for(module, wheel), str(HERE / "dump_tensorrt_api.py"), module.parent.name]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{wheel.name}: the module does not import: {result.stderr.strip()[-600:]}")
    found = {"wheel": wheel.name, **json.loads(result.stdout)}
    RECORDS.mkdir(exist_ok=True)
    path = RECORDS / f"{found['version']}.json"
    path.write_text(_compact(found), encoding="utf-8")
    return path


def _compact(record: dict[str, object]) -> str:
    """Write one line per class and enum, so that versions can be compared line by line."""
    lines = []
    for key in sorted(record):
        value = record[key]
        if not isinstance(value, dict):
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
            continue
        items = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(value.items()))
        lines.append(f" {json.dumps(key)}: {{\n{items}\n }}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Record what the arguments name."""
    parser = argparse.ArgumentParser(description="Record the names of real TensorRT modules.")
    parser.add_argument("--version", action="append", default=[], help="fetched with pip")
    parser.add_argument("--wheel", action="append", default=[], type=Path, help="a file here")
    arguments = parser.parse_args()
    for item in [*arguments.version, *arguments.wheel]:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            wheel = item if isinstance(item, Path) else download(item, work)
            path = record(wheel, work)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB from {wheel.name}")


if __name__ == "__main__":
    main()
