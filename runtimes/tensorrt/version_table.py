"""The version table as Markdown, for docs/tensorrt.md.

python -m segship.runtimes.tensorrt.version_table
"""

from __future__ import annotations

from .known_bad import DEFECTS
from .versions import Generation, generation_of, generations

# (row of the table, field of Generation)
_ROWS = (
    ("JetPack", "jetpack"),
    ("types from the graph", "strong_typing"),
    ("`EXPLICIT_BATCH`", "explicit_batch_flag"),
    ("`FP16`, `INT8`, `OBEY_PRECISION_CONSTRAINTS`", "precision_flags"),
    ("INT8 calibrators (not used)", "calibrators"),
    ("`platform_has_fast_fp16`", "fast_type_queries"),
    ("hardware compatibility", "hardware_levels"),
    ("version compatibility", "version_compatible"),
    ("optimization level", "optimization_level"),
    ("timing cache", "timing_cache"),
    ("LayerNormalization in the parser", "layer_norm"),
    ("GELU as one activation", "gelu"),
    ("ONNX nodes in layers' metadata", "layer_metadata"),
    ("memory of activations", "device_memory"),
    ("inspector's inputs and outputs", "inspector_io_key"),
    ("highest opset listed", "max_opset"),
    ("FP16 scales in Q/DQ", "fp16_scales"),
    ("names recorded of", "recorded"),
)


def table() -> str:
    """Return three lists in Markdown: generations by what they have, facts, known defects."""
    found = generations()
    head = ["", *(item.name for item in found)]
    lines = [_row(head), _row(["---"] * len(head))]
    lines += [_row([title, *(_cell(item, field) for item in found)]) for title, field in _ROWS]
    facts = [f"- {item.name}: {fact}" for item in found for fact in item.facts]
    defects = ["| since | before | where | defect and advice |", "|---|---|---|---|"]
    for item in DEFECTS:
        place = " ".join(
            filter(None, ("Jetson" if item.jetson else "", item.sm and f"SM {item.sm}"))
        )
        defects.append(_row([_dots(item.since), _dots(item.until), place or "all", item.line()]))
    return "\n".join([*lines, "", *facts, "", *defects])


def _cell(generation: Generation, field: str) -> str:
    """Return a cell: what the first release has, and what the newest recorded one has instead."""
    first = _text(getattr(generation, field))
    newest = _text(getattr(generation_of(generation.recorded[-1]), field))
    return first if first == newest else f"{first}; {newest} in {generation.recorded[-1]}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value)


def _dots(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(table())
