"""Train the demo's SegFormer on procedural road scenes, on a CPU, from nothing but a seed.

    python examples/demo/train.py -o examples/demo/checkpoint

The folder it writes is a Hugging Face checkpoint; its README.md states the accuracy reached.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segship.benchmark.confusion import Confusion
from segship.common.progress import track
from segship.data.contract import Contract
from segship.data.loader import prefetch
from segship.data.preprocess import preprocess
from segship.data.scenes import DEFAULT_SIZE_PX, SCENE_CLASSES, SCENE_PALETTE, Scenes
from segship.models.checkpoints.hf_write import save_hf_checkpoint
from segship.models.segformer import SegFormer
from segship.models.spec import HeadSpec, ModelSpec

VALIDATION_SCENES = 64
IGNORED = 255
THREADS = 1  # fixed: the number of threads changes the order of sums, and one suits a shared CPU


@dataclass(frozen=True)
class Plan:
    """What the training does; the defaults made the shipped checkpoint."""

    steps: int = 1800
    batch: int = 8
    crop_px: tuple[int, int] = (160, 224)
    pool: int = 800  # scenes kept in memory, 0.4 MB each
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warmup_steps: int = 100
    seed: int = 2


class Pool:
    """Scenes drawn once and kept, from which random crops are taken."""

    def __init__(self, count: int, contract: Contract) -> None:
        """Draw the first `count` scenes of the train split."""
        scenes, total = Scenes(count, "train"), count
        samples = [scenes.sample(i) for i in track(range(total), "drawing scenes", total)]
        self.images = np.stack([sample.image for sample in samples])
        self.labels = np.stack([sample.labels for sample in samples])
        self.contract = contract

    def class_weights(self) -> Tensor:
        """Return a loss weight per class (K,): rarer classes count more, by the fourth root."""
        pixels = np.bincount(self.labels.ravel(), minlength=256)[: len(SCENE_CLASSES)]
        weights = (pixels.mean() / pixels) ** 0.25
        return torch.tensor(weights, dtype=torch.float32)

    def batch(self, rng: np.random.Generator, plan: Plan) -> tuple[Tensor, Tensor]:
        """Return random crops, half of them mirrored: (B,3,h,w) float32, labels (B,h,w) int64."""
        height, width = plan.crop_px
        crops, labels = [], []
        for index in rng.integers(len(self.images), size=plan.batch):
            top = int(rng.integers(self.images.shape[1] - height + 1))
            left = int(rng.integers(self.images.shape[2] - width + 1))
            window = (slice(top, top + height), slice(left, left + width))
            step = 1 if rng.random() < 0.5 else -1
            crops.append(self.images[index][window][:, ::step])
            labels.append(self.labels[index][window][:, ::step])
        contract = self.contract.with_size(height, width)
        pixels = np.concatenate([preprocess(crop, contract) for crop in crops])
        return torch.from_numpy(pixels), torch.from_numpy(np.stack(labels)).long()


def demo_spec() -> ModelSpec:
    """Return the architecture: a fifth of a million parameters, one block per stage."""
    return ModelSpec(
        widths=(16, 32, 48, 64),
        depths=(1, 1, 1, 1),
        attention_heads=(1, 2, 3, 4),
        heads=(HeadSpec(classes=len(SCENE_CLASSES), width=64),),
    )


def demo_contract() -> Contract:
    """Return the contract: scenes at their own size, ImageNet mean and std."""
    return Contract(
        size_px=DEFAULT_SIZE_PX,
        classes=SCENE_CLASSES,
        palette=SCENE_PALETTE,
        ignore_index=IGNORED,
    )


def train(plan: Plan, pool: Pool) -> SegFormer:
    """Return a model trained with AdamW, linear warm-up and cosine decay."""
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    model = SegFormer(demo_spec()).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, plan))
    weights = pool.class_weights()
    for step in track(range(plan.steps), "training", plan.steps):
        pixels, labels = pool.batch(rng, plan)
        logits = upsampled(model, pixels, plan.crop_px)
        loss = functional.cross_entropy(logits, labels, weights, ignore_index=IGNORED)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {plan.steps}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def upsampled(model: SegFormer, pixels: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Return logits (B,K,*size_px), bilinear as the evaluation does it."""
    logits = model(pixels)["segmentation"]
    return functional.interpolate(logits, size_px, mode="bilinear", align_corners=False)


def _rate(step: int, plan: Plan) -> float:
    """Return the learning rate's factor at `step`."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    share = (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * share))


def evaluate(model: SegFormer, scenes: Scenes) -> NDArray[np.float64]:
    """Return the IoU of each class over the data set."""
    confusion = Confusion(len(scenes.classes), scenes.ignore_index)
    with torch.inference_mode():
        for item in prefetch(scenes, demo_contract()):
            height, width = item.labels.shape
            logits = upsampled(model, torch.from_numpy(item.pixels), (height, width))
            confusion.update(item.labels, logits.argmax(1)[0].numpy(), item.name)
    hits = np.diag(confusion.matrix).astype(float)
    union = confusion.matrix.sum(0) + confusion.matrix.sum(1) - hits
    iou: NDArray[np.float64] = hits / union
    return iou


def write_checkpoint(model: SegFormer, folder: Path, readme: str) -> None:
    """Put the checkpoint and its README into `folder`, replacing files of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        written = Path(scratch) / "checkpoint"
        save_hf_checkpoint(model, demo_contract(), written)
        (written / "README.md").write_text(readme, encoding="utf-8")
        for file in written.iterdir():
            os.replace(file, folder / file.name)


def readme_of(plan: Plan, model: SegFormer, iou: NDArray[np.float64], minutes: float) -> str:
    """Return the README that states what the checkpoint is and reached."""
    parameters = sum(tensor.numel() for tensor in model.parameters())
    rows = [f"| {n} | {v:.2%} |" for n, v in zip(SCENE_CLASSES, iou.tolist(), strict=True)]
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            "---",
            "# The demo's checkpoint",
            "",
            f"A SegFormer of {parameters:,} parameters, trained on procedural road scenes "
            f"(`scenes:{plan.pool}@train`) from random weights; no other data was used. "
            "Licence: Apache-2.0, like the code. This command makes it again:",
            "",
            "```",
            "python examples/demo/train.py -o examples/demo/checkpoint",
            "```",
            "",
            f"{plan.steps} steps of {plan.batch} crops of {plan.crop_px[0]}×{plan.crop_px[1]}, "
            f"AdamW, cosine; {minutes:.0f} minutes on {THREADS} thread. Another processor rounds "
            "differently, so the weights may differ in the last digits.",
            "",
            f"mIoU on `scenes:{VALIDATION_SCENES}@val`, images at 256×384, logits bilinear to the "
            f"label's size: **{iou.mean():.2%}**",
            "",
            "| class | IoU |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Train, evaluate on unseen scenes, write the checkpoint."""
    plan = Plan()
    parser = argparse.ArgumentParser(description="Train the demo's SegFormer on scenes.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--steps", type=int, default=plan.steps, help="optimizer steps")
    parser.add_argument("--pool", type=int, default=plan.pool, help="training scenes")
    given = parser.parse_args()
    plan = Plan(steps=given.steps, pool=given.pool)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    model = train(plan, Pool(plan.pool, demo_contract()))
    iou = evaluate(model, Scenes(VALIDATION_SCENES, "val"))
    minutes = (time.perf_counter() - start) / 60
    write_checkpoint(model, given.output, readme_of(plan, model, iou, minutes))
    for name, value in zip(SCENE_CLASSES, iou.tolist(), strict=True):
        print(f"{name:12} {value:7.2%}")
    print(f"mIoU on scenes:{VALIDATION_SCENES}@val: {iou.mean():.2%}, {minutes:.1f} minutes")
    print(f"checkpoint: {given.output}")


if __name__ == "__main__":
    main()
