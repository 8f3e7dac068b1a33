"""Run as a program: what the real segmentation_models_pytorch computes, written to a folder.

`python -m segship.tests.models.foreign.smp_witness LIBRARY FOLDER`; LIBRARY holds the packages
`make smp` installs. They stay out of every other process: torchvision from PyPI is the CUDA
build, and beside a CPU torch it makes even transformers' SegFormer fail to import.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .tiny import pixels, quietened, shaken
from .zoo import MIT_FEEDS_NORMS

SIZE_PX = (64, 96)
NETWORKS: dict[str, dict[str, Any]] = {
    "b0": {"encoder_name": "mit_b0", "classes": 3},
    "b1-narrow-binary": {
        "encoder_name": "mit_b1",
        "classes": 1,
        "decoder_segmentation_channels": 64,
    },
    "b0-with-classifier": {"encoder_name": "mit_b0", "classes": 3, "aux_params": {"classes": 4}},
}
_KEPT: list[Any] = []  # operators live as long as the object that declared them


def import_library(library: str) -> Any:
    """Return the module `segmentation_models_pytorch` of the folder `library`.

    Raises:
        ImportError: it, timm or torchvision is not there.
    """
    sys.path.append(library)
    try:
        import torchvision  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401  # whether it loads
    except RuntimeError:  # its compiled part wants CUDA; its Python part needs the names only
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        declared: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # theirs
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(declared)
    import segmentation_models_pytorch  # type: ignore[import-not-found,import-untyped,unused-ignore]  # optional

    return segmentation_models_pytorch


def write_witness(net: nn.Module, folder: Path) -> None:
    """Write the state dict, the folder of `save_pretrained`, an input and its output."""
    folder.mkdir()
    image = pixels(2, *SIZE_PX)
    with torch.inference_mode():
        output = net(image)
    if isinstance(output, tuple):  # the mask, and the label of the whole image
        output = output[0]
    torch.save(net.state_dict(), folder / "weights.pth")
    torch.save({"image": image, "output": output}, folder / "witness.pt")
    net.save_pretrained(folder / "hub")  # type: ignore[operator]  # nn.Module does not declare it


def main(library: str, folder: str) -> None:
    """Write one witness per network and weight scale."""
    smp = import_library(library)
    torch.manual_seed(7)
    torch.set_num_threads(1)
    for name, arguments in NETWORKS.items():
        for quiet in (False, True):
            net = shaken(smp.Segformer(encoder_weights=None, **arguments))
            if quiet:
                quietened(net, MIT_FEEDS_NORMS)
            write_witness(net, Path(folder) / f"{name}{'-quiet' if quiet else ''}")


if __name__ == "__main__":
    main(*sys.argv[1:])
