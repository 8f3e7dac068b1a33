"""Hugging Face transformers: the names of hub files, and those of memory since 5.9."""

from __future__ import annotations

from ..flavour import Flavour
from ..hf_keys import HUB, SINCE_5_9

HF = Flavour(
    name="hf",
    title="Hugging Face transformers",
    layouts=(HUB, SINCE_5_9),
    marks=("decode_head.classifier.", "segformer."),
    roots=("segformer.", "decode_head."),
)
