"""Every reader against an independent copy of the class its checkpoints come from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.checkpoints.settings import parse_settings
from segship.tests.models.foreign.tiny import CLASSES, DECODER, DEPTHS, one_thread, pixels, relative
from segship.tests.models.foreign.zoo import ZOO, outputs_of, saved

TOLERANCE = 1e-5  # of the largest reference logit; the note measures 2e-6 for equal arithmetic
BROKEN = 1e-2  # what every mistake below must exceed: a thousand times the tolerance


@pytest.fixture(autouse=True)
def single_threaded() -> Iterator[None]:
    """These networks are too small for two threads."""
    with one_thread():
        yield


def _error(checkpoint: Checkpoint, image: Tensor, want: dict[str, Tensor]) -> float:
    """Largest relative difference over the heads, after the contract's up-sampling if any."""
    with torch.inference_mode():
        got = checkpoint.model(image)
    assert set(got) == set(want)
    corners = checkpoint.contract.align_corners
    worst = 0.0
    for name, reference in want.items():
        ours = got[name]
        if ours.shape[2:] != reference.shape[2:]:
            size = reference.shape[2:]
            ours = functional.interpolate(ours, size, mode="bilinear", align_corners=corners)
        worst = max(worst, relative(ours, reference))
    return worst


def _read(net: nn.Module, folder: Path) -> Checkpoint:
    return load_checkpoint(saved(net.state_dict(), folder))


def _altered(net: nn.Module, pattern: str, folder: Path, change: str) -> Checkpoint:
    """Read the checkpoint of `net` with the tensors `pattern` finds damaged."""
    state = net.state_dict()
    found = [key for key in state if re.search(pattern, key)]
    assert found
    for key in found:
        if change == "pairs":  # exchange key and value, the last two blocks of rows
            *query, first, second = state[key].chunk(3 if "in_proj" in key else 2)
            state[key] = torch.cat([*query, second, first])
        elif change == "order":  # the branches in the other order
            state[key] = torch.cat(list(state[key].split(DECODER, dim=1))[::-1], dim=1)
        else:
            state[key] = torch.zeros_like(state[key])
    return load_checkpoint(saved(state, folder))


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("quiet", [False, True], ids=["trained", "quiet"])
def test_the_reader_computes_what_the_class_computes(
    name: str, quiet: bool, tmp_path: Path
) -> None:
    foreign = ZOO[name]
    net, image = foreign.net(quiet), pixels(2, *foreign.size_px)
    checkpoint = _read(net, tmp_path)
    assert checkpoint.spec.provenance.flavour.startswith(foreign.flavour)
    assert not checkpoint.model.training
    assert _error(checkpoint, image, outputs_of(foreign, net, image)) <= TOLERANCE


@pytest.mark.parametrize("name", ZOO)
def test_a_prefix_and_strangers_make_no_difference(name: str, tmp_path: Path) -> None:
    """What DDP, compilation and Lightning put in front, and what a metric leaves behind."""
    state = ZOO[name].net().state_dict()
    bare = load_checkpoint(saved(state, tmp_path))
    wrapped = {f"_orig_mod.module.{key}": tensor for key, tensor in state.items()}
    wrapped["val_iou.confmat"] = torch.zeros(3, 3)
    read = load_checkpoint(saved(wrapped, tmp_path))
    want, got = bare.model.state_dict(), read.model.state_dict()
    assert list(got) == list(want) and all(torch.equal(got[key], want[key]) for key in want)
    assert any("val_iou" in note for note in read.notes)


@pytest.mark.parametrize("name", ZOO)
def test_the_contract_follows_the_table_of_conventions(name: str, tmp_path: Path) -> None:
    """Research note 1.12, its last two columns, and what 1.11 says of depth."""
    contract = _read(ZOO[name].net(), tmp_path).contract
    family = name.partition("-")[0]
    assert contract.align_corners is (family in ("smp", "zuppichini"))
    green = {"tao": 0.5, "course": 0.56, "segformer3d": 0.56}.get(family, 0.456)
    assert contract.mean[1] == green
    assert contract.std == ((0.5, 0.5, 0.5) if family == "tao" else (0.229, 0.224, 0.225))
    assert contract.heads == ZOO[name].heads
    assert contract.scale == 1 / 255 and len(contract.classes) == CLASSES
    if "depth" in contract.heads:
        assert contract.depth_scale == 10 and contract.depth_abs


@pytest.mark.parametrize("name", ZOO)
def test_each_epsilon_is_the_one_of_the_class(name: str, tmp_path: Path) -> None:
    """1e-5 in place of 1e-6, or the reverse, at one site only, is seen."""
    foreign = ZOO[name]
    net, image = foreign.net(quiet=True), pixels(1, *foreign.size_px)
    checkpoint = _read(net, tmp_path)
    for site, pattern in foreign.norms.items():
        norms = [m for key, m in net.named_modules() if re.search(pattern, key)]
        changed = [m for m in norms if isinstance(m, nn.LayerNorm)]
        assert len(changed) >= 3 and len(changed) == len(norms), site
        right = changed[0].eps
        for norm in changed:
            norm.eps = 1e-6 if right > 5e-6 else 1e-5
        assert _error(checkpoint, image, outputs_of(foreign, net, image)) > BROKEN, site
        for norm in changed:
            norm.eps = right


def test_a_stripped_nvlabs_file_is_exact_once_its_flavour_is_stated(tmp_path: Path) -> None:
    """Without `conv_seg` the names are sithu's, whose epsilons differ (note 1.3)."""
    foreign = ZOO["nvlabs"]
    net, image = foreign.net(quiet=True), pixels(1, *foreign.size_px)
    state = {key: t for key, t in net.state_dict().items() if "conv_seg" not in key}
    path, want = saved(state, tmp_path), outputs_of(foreign, net, image)
    stated = load_checkpoint(path, settings=parse_settings(["flavour=nvlabs"]))
    assert _error(stated, image, want) <= TOLERANCE
    guessed = load_checkpoint(path)
    assert any("flavour=nvlabs" in note for note in guessed.notes)
    with torch.inference_mode():
        quarter = guessed.model.heads["segmentation"](guessed.model.encoder(image))
    assert relative(quarter, want["segmentation"]) > BROKEN


@pytest.mark.parametrize("name", ZOO)
def test_a_coarse_epsilon_breaks_parity_even_with_loud_weights(name: str, tmp_path: Path) -> None:
    foreign = ZOO[name]
    net, image = foreign.net(), pixels(1, *foreign.size_px)
    checkpoint = _read(net, tmp_path)
    for module in net.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-3
    # loud weights hide an epsilon: it moves them by a thousandth, which is still seen
    assert _error(checkpoint, image, outputs_of(foreign, net, image)) > 40 * TOLERANCE


@pytest.mark.parametrize("change", ["pairs", "order"])
@pytest.mark.parametrize("name", ZOO)
def test_exchanged_rows_or_columns_break_parity(name: str, change: str, tmp_path: Path) -> None:
    foreign = ZOO[name]
    net, image = foreign.net(), pixels(1, *foreign.size_px)
    pattern = foreign.pairs if change == "pairs" else foreign.fuse
    checkpoint = _altered(net, pattern, tmp_path, change)
    assert _error(checkpoint, image, outputs_of(foreign, net, image)) > BROKEN


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("tao", r"linear_fuse\.0\.bias"),
        ("zuppichini-bias", r"fuse\.0\.bias"),
        ("mmseg", r"convs\.2\.bn\.running_mean"),
    ],
)
def test_a_vector_of_the_head_dropped_breaks_parity(
    name: str, pattern: str, tmp_path: Path
) -> None:
    foreign = ZOO[name]
    net, image = foreign.net(), pixels(1, *foreign.size_px)
    checkpoint = _altered(net, pattern, tmp_path, "zero")
    assert _error(checkpoint, image, outputs_of(foreign, net, image)) > BROKEN


@pytest.mark.parametrize(
    ("name", "mistake"), [(name, mistake) for name in ZOO for mistake in ZOO[name].mistakes]
)
def test_a_wrong_forward_is_told_from_the_right_one(
    name: str, mistake: str, tmp_path: Path
) -> None:
    foreign = ZOO[name]
    net, image = foreign.net(), pixels(1, *foreign.size_px)
    checkpoint = _read(net, tmp_path)
    wrong = foreign.mistakes[mistake]().eval()
    wrong.load_state_dict(net.state_dict())
    assert _error(checkpoint, image, outputs_of(foreign, wrong, image)) > BROKEN


def test_no_weight_keeps_its_initial_value_and_quiet_weights_feed_norms_only() -> None:
    foreign = ZOO["mmseg"]
    fresh, loud = foreign.build().state_dict(), foreign.net().state_dict()
    quiet = foreign.net(quiet=True).state_dict()
    assert [k for k in loud if torch.equal(loud[k], fresh[k])] == [
        key for key in loud if key.endswith("num_batches_tracked")
    ]
    moved = [key for key in loud if not torch.equal(loud[key], quiet[key])]
    blocks, reducers = sum(DEPTHS), sum(DEPTHS[:3])
    # weight and bias of 4 patch convolutions and norms, of the reducers, of 2 outputs per block
    assert len(moved) == 2 * (4 + 4 + reducers + 2 * blocks)
