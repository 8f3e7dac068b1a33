"""TensorRT's timing cache on disk: a second build of the same layers need not time them again.

One file per device and TensorRT version, because times of another are wrong. A header of ours
names both and hashes the rest: TensorRT's own check came late and knows no damaged file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...common.errors import InputError
from ...common.files import write_bytes

_FORMAT = "segship-tensorrt-timing-cache"


@dataclass(frozen=True)
class CacheKey:
    """What times depend on: the GPU's name, its compute capability, the TensorRT version."""

    gpu: str
    sm: str
    tensorrt: str

    def path(self, folder: Path | None = None) -> Path:
        """Return the file of this key in `folder`, by default the user's cache.

        >>> CacheKey("NVIDIA T4", "7.5", "10.3.0").path(Path("c")).name
        'NVIDIA-T4-sm75-10.3.0.cache'
        """
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.gpu).strip("-")
        file = f"{name}-sm{self.sm.replace('.', '')}-{self.tensorrt}.cache"
        return (folder or _default_folder()) / file


def load_cache(path: Path, key: CacheKey) -> tuple[bytes, str]:
    """Return what was kept for `key`, and a note; b"" where there is nothing to use.

    A cache that is damaged, or of another device or version, is left alone and the build times
    everything anew.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return b"", ""
    except OSError as error:
        return b"", f"timing cache {path} not used: {error.strerror or error}"
    head, _, body = raw.partition(b"\n")
    try:
        values: dict[str, Any] = json.loads(head)
    except ValueError:
        values = {}
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        return b"", f"timing cache {path} not used: it is no timing cache of segship"
    stated = {name: values.get(name) for name in asdict(key)}
    if stated != asdict(key):
        made = " ".join(str(value) for value in stated.values())
        return b"", f"timing cache {path} not used: it was made on {made}"
    if values.get("sha256") != hashlib.sha256(body).hexdigest():
        return b"", f"timing cache {path} not used: it is damaged, and will be written anew"
    return body, ""


def store_cache(path: Path, key: CacheKey, body: bytes) -> str:
    """Keep `body`, whole or not at all; return a note where it could not be kept.

    A cache that cannot be written costs the next build time and nothing else.
    """
    head = {"format": _FORMAT, **asdict(key), "sha256": hashlib.sha256(body).hexdigest()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps(head, sort_keys=True).encode() + b"\n" + body)
    except (OSError, InputError) as error:
        return f"timing cache not kept: {error}"
    return ""


def attach_cache(config: Any, body: bytes) -> str:
    """Give `config` a timing cache with `body` in it, or an empty one where TensorRT refuses.

    Returns:
        A note where it was refused, else "".
    """
    cache = config.create_timing_cache(body)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return ""
    config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return "timing cache not used: TensorRT says it is of another device or version"


def _default_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root) / "segship" / "tensorrt"
