"""From named tensors to a checkpoint: flavour, specification, contract, model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...data.contract import Contract, OutputKind
from ..spec import ModelSpec, Provenance
from . import file_meta, smp_config
from .build import build_model
from .checkpoint import Checkpoint
from .detect import Match, identify, remarks
from .flavour import Flavour
from .hf import describe_hf, licence_note
from .hf_config import check_config
from .layout import Layout, Tensors
from .presets import preset_named
from .settings import Settings, apply_to_contract, apply_to_spec
from .source import CONFIG, Source
from .tensors import as_float32

_DEFAULT_SIZE_PX = (512, 512)
_IMAGESEGCOMP_CLASSES = 8
_CATEGORIES_NOTE = (
    "a SegFormer with 8 classes: if ImageSegComp's loop trained it, its images were only divided "
    "by 255 and resized to the nearest pixel: --set preset=div255-nearest"
)
_FIXED_OUTPUT_NOTE = (
    "the training wrapper (nested segformer) resizes its logits to a fixed size, 512x512 in "
    "hphuongdhsp's code; segship resizes to the size asked for"
)


def assemble(source: Source, settings: Settings) -> Checkpoint:
    """Return the checkpoint that `source` holds, as `settings` state and the files say.

    Raises:
        InputError: no flavour fits, tensors are missing or of another network, or files and
            tensors disagree.
    """
    match = identify(
        source.tensors, source=source.label, flavour=settings.flavour, prefix=settings.prefix
    )
    flavour = match.flavour
    stored, dropped = _tensors_of(match, source)
    floats, dtypes = as_float32(stored, source.label)
    short = {key.removeprefix(match.prefix): tensor for key, tensor in floats.items()}
    notes = (*source.notes, *remarks(match, source.tensors), *dropped)
    if flavour.name == "hf" and source.config is not None:
        tensors, spec, contract, layout, more = _by_config(match, short, source)
        described_by = CONFIG
    else:
        tensors, spec, contract, layout, more = _by_tensors(match, short, source, settings)
        described_by = ""
    spec, contract = _overridden(spec, contract, settings)

    def to_file(canonical: Tensors) -> Tensors:
        foreign = flavour.write(canonical, spec, layout)
        return {f"{match.prefix}{key}": tensor for key, tensor in foreign.items()}

    model = build_model(spec, tensors, source.label, to_file=to_file, described_by=described_by)
    notes = (*notes, *more, *_dtype_notes(dtypes), *settings.notes())
    path = source.folder if described_by else source.path
    return Checkpoint(model, spec, contract, notes, path)


_Described = tuple[Tensors, ModelSpec, Contract, Layout, tuple[str, ...]]


def _tensors_of(match: Match, source: Source) -> tuple[Tensors, tuple[str, ...]]:
    """Return the tensors of the network under their whole names, and notes on dropped ones."""
    flavour, prefix = match
    inside = {
        key.removeprefix(prefix): tensor
        for key, tensor in source.tensors.items()
        if key.startswith(prefix) and key.removeprefix(prefix).startswith(flavour.roots)
    }
    kept, notes = flavour.separate(inside)
    return {f"{prefix}{key}": tensor for key, tensor in kept.items()}, notes


def _by_config(match: Match, tensors: Tensors, source: Source) -> _Described:
    """Describe a Hugging Face model by its config.json, which decides."""
    config = check_config(source.config or {}, source.folder / CONFIG)
    canonical, layout = match.flavour.rename(tensors, source=source.label, prefix=match.prefix)
    origin = _origin(match.flavour, source)
    spec, contract, notes = describe_hf(config, source.folder, canonical, origin)
    return canonical, spec, contract, layout, notes


def _by_tensors(match: Match, tensors: Tensors, source: Source, settings: Settings) -> _Described:
    """Describe a model by its tensors, its flavour and what the file says beside them."""
    flavour = match.flavour
    reading = flavour.read(
        tensors,
        source=source.label,
        prefix=match.prefix,
        attention_heads=settings.spec.get("attention_heads"),
    )
    chosen = settings.flavour is not None or not flavour.choice_note
    notes = flavour.notes if chosen else (flavour.choice_note, *flavour.notes)
    if flavour.name == "smp" and source.config is not None and smp_config.is_smp(source.config):
        more = smp_config.compare_with_config(source.config, reading.spec, str(source.folder))
        notes = (*notes, *more)
    elif source.config is not None:
        notes = (*notes, f"{CONFIG} beside it belongs to another kind of checkpoint: not used")
    spec = replace(reading.spec, provenance=_origin(flavour, source))
    contract, said = contract_for(flavour, spec, source.meta, settings)
    notes = (*notes, *_wrapper_notes(match, spec), *said)
    return reading.tensors, spec, contract, reading.layout, notes


def contract_for(
    flavour: Flavour, spec: ModelSpec, meta: Mapping[str, Any], settings: Settings
) -> tuple[Contract, tuple[str, ...]]:
    """Return the contract of a model whose files hold no preprocessing, and notes on it.

    A stated preset decides, then the config text in `meta`, then the flavour's preset.

    Raises:
        InputError: no preset of the stated name.
    """
    preset = preset_named(settings.preset or flavour.preset)
    said, said_notes = ({}, ()) if settings.preset else file_meta.config_fields(meta)
    size = flavour.sizes_px.get(spec.head.classes, flavour.size_px)
    names, notes = file_meta.class_names(meta, spec.head.classes)
    fields = {"size_px": size or _DEFAULT_SIZE_PX, **preset.fields, **said}
    if spec.head.classes == 1:
        fields["threshold"] = 0.5
        notes += ("one output channel: a pixel is foreground where sigmoid(logit) > 0.5",)
    contract = Contract(
        classes=names,
        palette=file_meta.palette(meta, names),
        align_corners=spec.output_align_corners,
        heads=tuple(head.name for head in spec.heads),
        **fields,
    )
    if "size_px" not in {**said, **settings.contract}:
        height_px, width_px = contract.size_px
        where = "usual for" if size else "assumed for"
        notes += (f"input {height_px}x{width_px} is {where} {flavour.title}: --set size=HxW",)
    if "mean" not in said:
        why = "as stated" if settings.preset else f"the way of {flavour.title}"
        notes += (f"images are prepared by preset {preset.name} ({preset.title}): {why}",)
    return contract, said_notes + notes


def _origin(flavour: Flavour, source: Source) -> Provenance:
    note = licence_note(source.config, source.typed, source.folder, nvidia_layout=flavour.nvidia)
    return Provenance(flavour.name, source.typed, source.weights.sha256(), note)


def _overridden(
    spec: ModelSpec, contract: Contract, settings: Settings
) -> tuple[ModelSpec, Contract]:
    """Apply what was stated; a model that answers at full size says so in its contract."""
    spec = apply_to_spec(spec, settings)
    if spec.output_stride == 1:
        contract = replace(contract, output=OutputKind.LOGITS_FULL)
    return spec, apply_to_contract(contract, settings)


def _wrapper_notes(match: Match, spec: ModelSpec) -> tuple[str, ...]:
    if match.flavour.name != "hf":
        return ()
    notes: tuple[str, ...] = ("no config.json: the architecture was read off the tensors",)
    if match.prefix.endswith("segformer."):
        notes += (_FIXED_OUTPUT_NOTE,)
    if spec.head.classes == _IMAGESEGCOMP_CLASSES:
        notes += (_CATEGORIES_NOTE,)
    return notes


def _dtype_notes(dtypes: set[str]) -> tuple[str, ...]:
    if not dtypes:
        return ()
    return (f"weights are stored as {', '.join(sorted(dtypes))}; computed in float32",)
