"""What every room's tests share: the repository, the material beside it, a tiny checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segship.data.contract import Contract
from segship.data.palette import default_palette
from segship.data.scenes import SCENE_CLASSES
from segship.models.spec import HeadSpec, ModelSpec

# torch is imported by the fixtures that need it, so that the other tests run where it is missing

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what segship remembers (the faster runtime) out of the user's cache, children too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real checkpoints and data beside the checkout; the product never needs it."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "checkpoints").is_dir() or not (folder / "camvid").is_dir():
        pytest.skip("needs the real checkpoint and CamVid in ../shared")
    return folder


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    """The checkpoint that ships with the repository; do not change it."""
    return REPOSITORY / "examples" / "demo" / "checkpoint"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random SegFormer of a few thousand parameters for `scenes`, in Hugging Face's layout.

    Input 64x96, so that height and width cannot be mixed up unseen. Do not change the folder.
    """
    import torch

    from segship.models.checkpoints.hf_write import save_hf_checkpoint
    from segship.models.segformer import SegFormer

    classes = len(SCENE_CLASSES)
    spec = ModelSpec(
        widths=(8, 16, 24, 32),
        depths=(1, 1, 1, 1),
        attention_heads=(1, 2, 3, 4),
        heads=(HeadSpec(classes=classes, width=16),),
    )
    torch.manual_seed(5)
    contract = Contract(size_px=(64, 96), classes=SCENE_CLASSES, palette=default_palette(classes))
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    save_hf_checkpoint(SegFormer(spec).eval(), contract, folder)
    return folder


@pytest.fixture
def flavour_file(tmp_path: Path) -> Callable[..., Path]:
    """A function: flavour name, container="plain", prefix="", classes=5 → a tiny checkpoint file.

    C = 8, 16, 24, 32, one block per stage. Containers: `flavour_files.CONTAINERS`. `extra` adds
    tensors under their own names. The file lies alone in a folder of its own.
    """

    def write(name: str, **options: Any) -> Path:
        from segship.tests.models.flavour_files import write_flavour_file

        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return write_flavour_file(folder, name, **options)

    return write


@pytest.fixture(scope="session")
def tiny_onnx(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, exported with the rewrites at its own size."""
    from segship.optimize.export import export

    path = tmp_path_factory.mktemp("onnx") / "rewritten.onnx"
    export(tiny_checkpoint, path)
    return path
