"""Run as a program: a small U-Net of the real segmentation_models_pytorch, exported twice.

`python -m segship.tests.runtimes.smp_unet LIBRARY FOLDER` writes unet.onnx, unet.pt and
witness.npz with an input and what the network makes of it. In a process of its own for the same
reason as smp_witness.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from segship.tests.models.foreign.smp_witness import import_library

SIZE_PX = (64, 96)
CLASSES = 9


def main(library: str, folder: Path) -> None:
    """Write the files."""
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.manual_seed(0)
    network = (
        import_library(library)
        .Unet(
            "mobilenet_v2",
            encoder_depth=3,
            encoder_weights=None,
            decoder_channels=(32, 16, 8),
            classes=CLASSES,
        )
        .eval()
    )
    pixels = torch.randn(1, 3, *SIZE_PX)
    torch.onnx.export(network, (pixels,), str(folder / "unet.onnx"), opset_version=17, dynamo=False)
    traced = torch.jit.trace(network, pixels)  # type: ignore[no-untyped-call]  # torch's
    torch.jit.save(traced, str(folder / "unet.pt"))
    with torch.inference_mode():
        output = network(pixels)
    parameters = sum(item.numel() for item in network.parameters())
    found = {"pixels": pixels.numpy(), "output": output.numpy(), "parameters": parameters}
    np.savez(folder / "witness.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
