"""Write what a real Torch-TensorRT takes into tensorrt_api/torch_tensorrt-VERSION.json.

    python tests/runtimes/record_torch_tensorrt_api.py --version 2.11.0
    python tests/runtimes/record_torch_tensorrt_api.py --wheel torch_tensorrt-2.11.0-….whl

The source in the wheel is parsed, not imported: importing it needs its own torch and TensorRT.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).resolve().parent / "tensorrt_api"
# public name → (file, name in it)
FUNCTIONS = {
    "torch_tensorrt.compile": ("_compile.py", "compile"),
    "torch_tensorrt.load": ("_compile.py", "load"),
    "torch_tensorrt.save": ("_compile.py", "save"),
    "torch_tensorrt.dynamo.compile": ("dynamo/_compiler.py", "compile"),
    "torch_tensorrt.dynamo.trace": ("dynamo/_tracer.py", "trace"),
    "torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine": (
        "dynamo/_compiler.py",
        "convert_exported_program_to_serialized_trt_engine",
    ),
    "torch_tensorrt.runtime.enable_cudagraphs": ("runtime/_cudagraphs.py", "enable_cudagraphs"),
    "torch_tensorrt.runtime.set_cudagraphs_mode": ("runtime/_cudagraphs.py", "set_cudagraphs_mode"),
}
CLASSES = {
    "torch_tensorrt.Input": ("_Input.py", "Input"),
    "torch_tensorrt.Device": ("_Device.py", "Device"),
    "torch_tensorrt.dtype": ("_enums.py", "dtype"),
    "torch_tensorrt.dynamo.CompilationSettings": ("dynamo/_settings.py", "CompilationSettings"),
}
PACKAGES = {
    "torch_tensorrt": "__init__.py",
    "torch_tensorrt.dynamo": "dynamo/__init__.py",
    "torch_tensorrt.runtime": "runtime/__init__.py",
}


def parameters(node: ast.FunctionDef) -> dict[str, Any]:
    """Return a function's parameters by kind; `free` says that it takes any keyword."""
    names = [item.arg for item in (*node.args.posonlyargs, *node.args.args)]
    return {
        "positional": names,
        "required": len(names) - len(node.args.defaults),
        "keyword_only": [item.arg for item in node.args.kwonlyargs],
        "free": node.args.kwarg is not None,
    }


def describe_class(node: ast.ClassDef) -> dict[str, list[str]]:
    """Return fields, public methods, and the keywords `__init__` looks for in its **kwargs."""
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    init = next((item for item in methods if item.name == "__init__"), None)
    targets = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
    plain = [t for item in node.body if isinstance(item, ast.Assign) for t in item.targets]
    fields = [item.id for item in (*targets, *plain) if isinstance(item, ast.Name)]
    return {
        "fields": sorted(name for name in fields if name[0] != "_"),
        "methods": sorted(item.name for item in methods if item.name[0] != "_"),
        "keywords": sorted(_keywords(init)) if init else [],
    }


def _keywords(init: ast.FunctionDef) -> set[str]:
    """Return x of `"x" in kwargs`, `kwargs["x"]` and `kwargs.get("x")`, and named parameters."""
    found = {item.arg for item in (*init.args.args[1:], *init.args.kwonlyargs)}
    for node in ast.walk(init):
        holder: ast.expr | None = None
        key: ast.expr | None = None
        if isinstance(node, ast.Compare):
            holder, key = node.comparators[0], node.left
        elif isinstance(node, ast.Subscript):
            holder, key = node.value, node.slice
        if isinstance(holder, ast.Name) and holder.id == "kwargs" and isinstance(key, ast.Constant):
            found.add(str(key.value))
    return found


def exports(tree: ast.Module) -> list[str]:
    """Return the public names a package imports into itself, under `if` and `try` too."""
    found = {
        item.asname or item.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for item in node.names
    }
    return sorted(name for name in found if name[0] not in "_*")


def describe(wheel: Path) -> dict[str, Any]:
    """Return the whole record of a wheel."""
    with zipfile.ZipFile(wheel) as archive:

        def tree(file: str) -> ast.Module:
            return ast.parse(archive.read(f"torch_tensorrt/{file}"))

        def find(file: str, name: str) -> Any:
            return next(n for n in tree(file).body if getattr(n, "name", None) == name)

        (metadata,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
        needs = re.findall(r"^Requires-Dist: ((?:torch|tensorrt)\b.*)$", text, re.MULTILINE)
        version = re.search(r"^Version: (.*)$", text, re.MULTILINE)
        return {
            "wheel": wheel.name,
            "version": version[1] if version else "",
            "requires": needs,
            "functions": {name: parameters(find(*place)) for name, place in FUNCTIONS.items()},
            "classes": {name: describe_class(find(*place)) for name, place in CLASSES.items()},
            "exports": {name: exports(tree(file)) for name, file in PACKAGES.items()},
        }


def download(version: str, folder: Path) -> Path:
    """Fetch the wheel of `version` with pip."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    command += ["--only-binary=:all:", f"torch_tensorrt=={version}"]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def main() -> None:
    """Record what the arguments name."""
    parser = argparse.ArgumentParser(description="Record the names of a real Torch-TensorRT.")
    parser.add_argument("--version", help="fetched with pip")
    parser.add_argument("--wheel", type=Path, help="a file here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = describe(arguments.wheel or download(arguments.version, Path(folder)))
    path = RECORDS / f"torch_tensorrt-{found['version']}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB from {found['wheel']}")


if __name__ == "__main__":
    main()
