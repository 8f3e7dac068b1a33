"""Write a canonical model as a Hugging Face checkpoint that transformers can load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...common.errors import InputError
from ...common.files import atomic_folder
from ...data.contract import ChannelOrder, Contract
from ..segformer import SegFormer
from ..spec import Eps, HeadKind, ModelSpec
from .hf_keys import hub_name
from .hf_preprocessor import write_fields


def save_hf_checkpoint(model: SegFormer, contract: Contract, folder: str | Path) -> None:
    """Write config.json, preprocessor_config.json and model.safetensors to a new `folder`.

    The palette goes into config.json under a key transformers carries along but does not use.

    Raises:
        InputError: the model or contract has something this layout cannot say (`optimize.export_hf`
            writes what can be written, and says what is lost), or `folder` exists.
    """
    _refuse_inexpressible(model.spec, contract)
    with atomic_folder(Path(folder)) as temporary:
        write_hf_files(model, contract, temporary)


def write_hf_files(model: SegFormer, contract: Contract, folder: Path) -> None:
    """Write the three files of a checkpoint into an existing `folder`.

    What the layout cannot say is left out without a word: `save_hf_checkpoint` refuses it.

    Raises:
        InputError: the layout has no place for a tensor.
    """
    from safetensors.torch import save

    tensors = {
        hub_name(name): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    data = save(tensors, metadata={"format": "pt"})  # save_file would make it private (0600)
    (folder / "model.safetensors").write_bytes(data)
    _write_json(folder / "config.json", _config(model.spec, contract))
    _write_json(folder / "preprocessor_config.json", _preprocessor(contract))


def _refuse_inexpressible(spec: ModelSpec, contract: Contract) -> None:
    head = spec.head
    lost = {
        "more than one head": len(spec.heads) > 1 or head.name != "segmentation",
        "ReLU in each branch": head.kind is HeadKind.BRANCH_RELU,
        "align_corners": head.align_corners or contract.align_corners,
        "a bias in the fuse convolution": head.fuse_bias,
        "BatchNorm after the ReLU": head.norm_after_relu,
        "reduction at ratio 1": spec.sr_at_ratio_1,
        "LayerNorm eps other than 1e-5": spec.eps != Eps(),
        "full-resolution output": spec.output_stride == 1,
        "BGR input": contract.channel_order is not ChannelOrder.RGB,
        "a label map": bool(contract.label_map),
        "a threshold other than 0.5": contract.threshold not in (None, 0.5),
    }
    if named := [name for name, present in lost.items() if present]:
        raise InputError(
            f"Expected a model the Hugging Face layout can express, but this one has "
            f"{', '.join(named)}: keep its original checkpoint."
        )


def _config(spec: ModelSpec, contract: Contract) -> dict[str, Any]:
    names = contract.classes
    return {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "num_channels": spec.in_channels,
        "num_encoder_blocks": len(spec.widths),
        "hidden_sizes": list(spec.widths),
        "depths": list(spec.depths),
        "num_attention_heads": list(spec.attention_heads),
        "sr_ratios": list(spec.sr_ratios),
        "mlp_ratios": list(spec.mlp_ratios),
        "patch_sizes": list(spec.patch_sizes),
        "strides": list(spec.strides),
        "decoder_hidden_size": spec.head.width,
        "hidden_act": "gelu",
        "layer_norm_eps": spec.eps.block,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        "semantic_loss_ignore_index": contract.ignore_index,
        "palette": [list(colour) for colour in contract.palette],
        "dtype": "float32",
    }


def _preprocessor(contract: Contract) -> dict[str, Any]:
    return {
        "image_processor_type": "SegformerImageProcessor",
        "do_rescale": True,
        "rescale_factor": contract.scale,
        "do_normalize": True,
        "image_mean": list(contract.mean),
        "image_std": list(contract.std),
        **write_fields(
            contract.size_px, contract.resize, contract.resample, contract.reduce_labels
        ),
    }


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
