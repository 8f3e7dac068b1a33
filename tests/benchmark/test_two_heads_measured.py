"""A real two-headed file on real folders, through the command line, against torch alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional

from segship.benchmark.record import Record, load_record
from segship.cli import segship
from segship.data.contract import Contract
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.segformer import SegFormer
from segship.models.spec import HeadSpec, ModelSpec
from segship.optimize.export import export

CLASSES, SIZE, IMAGES = 4, (48, 96), 3
NAMES = tuple(f"class_{index}" for index in range(CLASSES))
STORED = (60, 100)  # the data has another size than the model's input


def model_of(heads: tuple[str, ...]) -> Checkpoint:
    """A random model with these heads; its depth is around ten times the data's."""
    torch.manual_seed(4)
    specs = {
        "segmentation": HeadSpec(classes=CLASSES, width=16),
        "depth": HeadSpec("depth", classes=1, width=16),
    }
    spec = ModelSpec(
        widths=(8, 16, 24, 32),
        depths=(1, 1, 1, 1),
        attention_heads=(1, 2, 3, 4),
        heads=tuple(specs[head] for head in heads),
    )
    model = SegFormer(spec).eval().requires_grad_(False)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.5)  # else the classes are nearly equal everywhere
    if "depth" in heads:
        model.heads["depth"].get_parameter("classifier.bias").add_(20)
    contract = Contract(
        size_px=SIZE,
        classes=NAMES if "segmentation" in heads else (),
        heads=heads,
        depth_abs=True,
        depth_scale=10.0,
    )
    return Checkpoint(model, spec, contract, (), Path("two-heads"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples in Segformer3D's layout and as a depth folder without labels."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(8)
    for name in ("images", "seg_labels", "depth_labels"):
        (root / name / "val").mkdir(parents=True)
        if name != "seg_labels":
            (root / "deep" / name.replace("_labels", "")).mkdir(parents=True)
    for index in range(IMAGES):
        image = generator.integers(0, 256, (*STORED, 3)).astype(np.float32)
        labels = generator.integers(-1, CLASSES, STORED).astype(np.int64)
        depth = generator.uniform(0.5, 4, (*STORED, 1)).astype(np.float32)
        depth[generator.random(depth.shape) < 0.2] = 0
        for name, array in (("images", image), ("seg_labels", labels), ("depth_labels", depth)):
            np.save(root / name / "val" / f"{index}.npy", array)
        from PIL import Image

        Image.fromarray(image.astype(np.uint8)).save(root / "deep" / "images" / f"{index}.png")
        np.save(root / "deep" / "depth" / f"{index}.npy", depth[..., 0])
    return root


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ONNX files: both heads, and each head alone."""
    folder = tmp_path_factory.mktemp("models")
    made = {"both": ("segmentation", "depth"), "labels": ("segmentation",), "depth": ("depth",)}
    for name, heads in made.items():
        export(model_of(heads), folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in made}


def run(*arguments: object) -> Record:
    """Run a command that writes a record, and read it."""
    result = CliRunner().invoke(segship, [str(item) for item in arguments])
    assert result.exit_code == 0, result.output
    path = Path(str(arguments[list(arguments).index("--json") + 1]))
    return load_record(path)


def seen_by_torch(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the confusion matrix and (truth, prediction) of valid depth, by torch and numpy."""
    from PIL import Image

    source = model_of(("segmentation", "depth"))
    contract = source.contract
    matrix, depths = np.zeros((CLASSES, CLASSES)), []
    for index in range(IMAGES):
        image, labels, depth = (
            np.load(folder / name / "val" / f"{index}.npy")
            for name in ("images", "seg_labels", "depth_labels")
        )
        picture = Image.fromarray(image.astype(np.uint8))
        small = np.asarray(picture.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR))
        pixels = (small / 255 - np.array(contract.mean)) / np.array(contract.std)
        batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        outputs = source.model(batch)
        logits, deep = (
            functional.interpolate(outputs[head], STORED, mode="bilinear")[0].numpy()
            for head in ("segmentation", "depth")
        )
        known = labels >= 0
        np.add.at(matrix, (labels[known], logits.argmax(0)[known]), 1)
        truth = depth[..., 0]
        depths.append(np.stack([truth[truth > 0], np.abs(deep[0][truth > 0]) / 10]))
    return matrix, np.concatenate(depths, axis=1)


def test_both_heads_equal_torch(files: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    data, out = f"segformer3d:{folder}@val", tmp_path / "r.json"
    record = run("evaluate", files["both"], files["labels"], "--data", data, "--json", out)
    both, labels = record.measurements
    matrix, (truth, seen) = seen_by_torch(folder)
    assert both.accuracy is not None and both.depth is not None
    # torch and the runtime round differently; a tie may fall the other way on a few pixels
    assert np.abs(np.array(both.accuracy.confusion) - matrix).sum() <= 1e-3 * matrix.sum()
    assert both.depth.pixels == truth.size
    ratio = np.maximum(truth / seen, seen / truth)
    for found, want in (
        (both.depth.abs_rel, np.mean(np.abs(seen - truth) / truth)),
        (both.depth.rmse, np.sqrt(np.mean((seen - truth) ** 2))),
        (both.depth.rmse_log, np.sqrt(np.mean(np.log(seen / truth) ** 2))),
        (both.depth.delta1, np.mean(ratio < 1.25)),
    ):
        assert found == pytest.approx(want, rel=1e-3)  # float32 in another order
    assert labels.depth is None and labels.accuracy is not None and labels.accuracy.drop
    assert "depth bilinear to the truth's size" in record.protocol.evaluation


def test_data_without_labels_is_a_depth_evaluation(
    files: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    paths = (files["depth"], files["both"])
    out = ("--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    record = run("evaluate", *paths, "--data", f"depth:{folder / 'deep'}", *out)
    alone, both = record.measurements
    assert alone.accuracy is None and both.accuracy is None
    assert alone.depth is not None and both.depth is not None and both.depth.change
    (note,) = record.warnings
    assert note.startswith("Segmentation is left out: depth:") and note.endswith("has no labels.")
    assert "AbsRel" in (tmp_path / "r.html").read_text()
    assert not record.protocol.evaluation.startswith("int64") and record.protocol.images == IMAGES


def test_depth_slides_and_flips_too(folder: Path, tmp_path: Path) -> None:
    export(model_of(("segmentation", "depth")), tmp_path / "free.onnx", dynamic=True)
    data, out = f"segformer3d:{folder}@val", tmp_path / "r.json"
    whole = ("--protocol", "slide", "--crop", f"{STORED[0]}x{STORED[1]}", "--json", out)
    record = run("evaluate", tmp_path / "free.onnx", "--data", data, *whole, "--limit", 1)
    assert record.measurements[0].depth is not None
    flipped = run("evaluate", tmp_path / "free.onnx", "--data", data, *whole, "--flip")
    assert flipped.measurements[0].depth is not None
    assert flipped.measurements[0].depth != record.measurements[0].depth
    assert "mirror image" in flipped.protocol.evaluation


def test_frames_of_both_heads_and_of_depth_alone_are_timed(
    files: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    paths = (files["both"], files["depth"])
    clock = ("--rounds", 2, "--starts", 0, "--flip", "--json", tmp_path / "r.json")
    record = run("benchmark", *paths, "--data", f"segformer3d:{folder}@val", *clock)
    assert all(item.frame and item.latency and item.depth for item in record.measurements)
    assert any("several runs per image" in warning for warning in record.warnings)


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(segship, [str(item) for item in arguments])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_what_does_not_fit_is_one_line(
    files: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    line = refused("evaluate", files["depth"], "--data", "scenes:1")
    assert "data set with depth" in line
    data = f"segformer3d:{folder}@val"
    assert "add --protocol slide" in refused(
        "evaluate", files["both"], "--data", data, "--crop", "64"
    )
    line = refused("evaluate", files["both"], "--data", data, "--exclude", "sky")
    assert "class_0, class_1, class_2, class_3" in line
    line = refused("evaluate", files["both"], "--data", data, "--level", "epoch")
    assert "imagesegcomp[:N]" in line
    source = model_of(("segmentation",))
    labels = tmp_path / "labels.onnx"
    from segship.data.contract import OutputKind

    export(replace(source), labels, output_kind=OutputKind.LABELS)
    for option in (("--flip",), ("--protocol", "slide")):
        assert "returns labels" in refused("evaluate", labels, "--data", data, *option)
    line = refused(
        "evaluate", files["both"], "--data", data, "--flip", "--postprocess", "dense-torch"
    )
    assert "leave out --postprocess" in line
    for options in ((), ("--data", data, "--latency-only")):
        line = refused("benchmark", files["both"], *options, "--level", "image")
        assert "only the latency is measured" in line
    early = ("benchmark", files["both"], "--data", data)  # before minutes of measuring
    assert "class_0" in refused(*early, "--exclude", "sky")
    line = refused(*early, "--protocol", "slide", "--crop", "64")
    assert "static at batch 1 of 48x96" in line
    assert "data set with depth" in refused("benchmark", files["depth"], "--data", "scenes:1")
    line = refused("benchmark", files["both"], "--sizes", "64", "--flip")
    assert "leave out --flip" in line
