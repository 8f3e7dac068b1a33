"""A model in the form transformers' SegFormer can hold: what folds exactly, and what is lost.

Exact, with s = γ/√(var + ε) of the BatchNorm:

- a bias f of the fuse: BN(Fx + f) subtracts the mean, so μ becomes μ − f;
- a BatchNorm behind the ReLU goes into the classifier C: C(s∘r + β − s∘μ) + c is
  (C·diag s) r + [c + C(β − s∘μ)], and what stands before the ReLU becomes the identity;
- BGR input: the first convolution's input channels turn around, mean and std with them.

Impossible: a ReLU in each branch, and a reducer where the layout has none. The rest is written and
listed as lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from ..common.errors import InputError
from ..data.contract import ChannelOrder, Contract
from ..models.segformer import DecodeHead, SegFormer
from ..models.spec import Eps, HeadKind, HeadSpec, ModelSpec
from .head_fold import folded_classifier

_HEAD = "segmentation"
_FIRST = "encoder.stages.0.patch_embed.proj.weight"
_BN_EPS = 1e-5  # of torch's BatchNorm2d, here and in transformers


@dataclass(frozen=True)
class HfForm:
    """The model and contract to write, what was folded exactly and what the layout loses.

    `weights_only` is the same function as the original's segmentation head where it runs with the
    original's eps and align_corners; `model` runs with transformers'.
    """

    model: SegFormer
    contract: Contract
    folds: tuple[str, ...]
    losses: tuple[str, ...]
    weights_only: SegFormer


def hf_form(model: SegFormer, contract: Contract) -> HfForm:
    """Return `model` (as loaded, no rewrite) in the form of transformers; it stays as it is.

    Raises:
        InputError: no segmentation head, or something that has no equal there.
    """
    head = _segmentation_head(model, contract)
    _refuse_impossible(model.spec, head)
    state = {name: tensor.clone() for name, tensor in _one_headed(model, head).items()}
    folds = _fold_head(state, cast(DecodeHead, model.heads[head.name]))
    contract = replace(_with_classes(contract, head.classes), heads=(_HEAD,))
    if contract.channel_order is ChannelOrder.BGR:
        state[_FIRST] = state[_FIRST].flip(1)
        contract = replace(
            contract,
            channel_order=ChannelOrder.RGB,
            mean=contract.mean[::-1],
            std=contract.std[::-1],
        )
        folds.append("BGR input: the first convolution takes RGB, mean and std are turned around")
    plain = HeadSpec(_HEAD, head.classes, head.width)
    spec = replace(
        model.spec, heads=(plain,), eps=Eps(), output_stride=4, output_align_corners=False
    )
    same = replace(
        spec, eps=model.spec.eps, heads=(replace(plain, align_corners=head.align_corners),)
    )
    return HfForm(
        _holding(spec, state),
        contract,
        tuple(folds),
        _losses(model.spec, head, contract),
        _holding(same, state),
    )


def _segmentation_head(model: SegFormer, contract: Contract) -> HeadSpec:
    known = [head for head in model.spec.heads if head.name == _HEAD]
    if not known or _HEAD not in contract.heads:
        raise InputError(
            f"Expected a segmentation head to write for transformers, but the model has "
            f"{', '.join(contract.heads)}: export it to ONNX."
        )
    return known[0]


def _refuse_impossible(spec: ModelSpec, head: HeadSpec) -> None:
    wrong = []
    if head.kind is HeadKind.BRANCH_RELU:
        wrong.append("a ReLU in each branch of the head")
    if spec.sr_at_ratio_1:
        wrong.append("a reducer at ratio 1")
    if wrong:
        raise InputError(
            f"Expected a model with an equal in transformers, but this one has "
            f"{' and '.join(wrong)}, which no weights there can express: export it to ONNX."
        )


def _one_headed(model: SegFormer, head: HeadSpec) -> dict[str, Tensor]:
    others = tuple(f"heads.{item.name}." for item in model.spec.heads if item.name != head.name)
    return {k: v for k, v in model.state_dict().items() if not k.startswith(others)}


def _fold_head(state: dict[str, Tensor], head: DecodeHead) -> list[str]:
    """Fold what stands in the head's tensors inside `state`; return what was done."""
    folds = []
    place = f"heads.{_HEAD}"
    if head.norm_after_relu:
        classifier = folded_classifier(head)
        state[f"{place}.classifier.weight"] = classifier.weight.detach()
        state[f"{place}.classifier.bias"] = cast(nn.Parameter, classifier.bias).detach()
        ones = torch.ones_like(state[f"{place}.bn.weight"])
        # scale √(1 + ε) over √(var + ε) with var = 1 is the identity
        state[f"{place}.bn.weight"] = ones * (1 + _BN_EPS) ** 0.5
        state[f"{place}.bn.bias"] = torch.zeros_like(ones)
        state[f"{place}.bn.running_mean"] = torch.zeros_like(ones)
        state[f"{place}.bn.running_var"] = ones
        folds.append("the BatchNorm behind the ReLU went into the classifier")
    if head.fuse.bias is not None:
        mean, bias = state[f"{place}.bn.running_mean"], state.pop(f"{place}.fuse.bias")
        state[f"{place}.bn.running_mean"] = (mean.double() - bias.double()).to(mean.dtype)
        folds.append("the bias of the fuse went into the BatchNorm's mean")
    return folds


def _with_classes(contract: Contract, count: int) -> Contract:
    """Return the contract with one class and colour per output channel."""
    if len(contract.classes) == count:
        return contract
    if count == 1 and len(contract.classes) == 2:  # background has no channel of its own
        return replace(contract, classes=contract.classes[1:], palette=contract.palette[1:])
    names = tuple(f"class_{index}" for index in range(count))
    return replace(contract, classes=names, palette=())


def _losses(spec: ModelSpec, head: HeadSpec, contract: Contract) -> tuple[str, ...]:
    """Say what transformers will do otherwise than the checkpoint."""
    losses = []
    if sites := [f"{site} {value:g}" for site, value in vars(spec.eps).items() if value != 1e-5]:
        losses.append(f"LayerNorm eps ({', '.join(sites)}): transformers computes with 1e-5")
    if head.align_corners:
        losses.append("branches up-sampled with align_corners=True: transformers uses False")
    if contract.align_corners or spec.output_align_corners:
        losses.append(
            "logits resized to the image with align_corners=True: transformers' processor uses "
            "False"
        )
    if spec.output_stride == 1:
        losses.append("logits at full size: transformers returns them at 1/4")
    if contract.threshold is not None:
        losses.append(
            f"the threshold {contract.threshold:g} of the one-class head: transformers takes the "
            "largest of one logit, so always class 0; compare sigmoid(logit) yourself"
        )
    if contract.label_map:
        losses.append("the label map: labels of the data must be mapped beforehand")
    if dropped := [item.name for item in spec.heads if item.name != head.name]:
        losses.append(f"dropped: the {', '.join(dropped)} head")
    return tuple(losses)


def _holding(spec: ModelSpec, state: dict[str, Tensor]) -> SegFormer:
    with torch.device("meta"):
        model = SegFormer(spec)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval()
