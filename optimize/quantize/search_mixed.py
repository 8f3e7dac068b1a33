"""Mixed precision: the parts whose INT8 is worth it on this machine, by real mIoU and real time."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...calibration.ranges import Ranges
from ...common.errors import InputError
from ...common.machine import usable_cores
from ...runtimes.artifact import PassNote
from .edges import quantized_tensors
from .explain import explain
from .float_graph import FloatGraph
from .plan import INT8, QuantPlan, make_plan
from .profile import Profile
from .qdq import insert_qdq
from .request import QuantizeRequest
from .search import search
from .search_cache import SearchCache, key_of

if TYPE_CHECKING:
    import onnx

    from ...benchmark.price import Search, Sensitivity, Trial
    from .makers import Made

DEFAULT_DROP_POINTS = 0.5
PART_IMAGES = 16
_RUNTIMES = ("onnxruntime", "openvino")
_PERCENT = 100.0


@dataclass(frozen=True)
class Target:
    """What runs the trials here: the best float precision of the machine, and how many threads."""

    runtime: str
    precision: str
    threads: int


@dataclass(frozen=True)
class Variants:
    """The float graph with its ranges, and the INT8 graph of any set of its parts.

    `whole` are the parts the target's form quantizes, `every` all that can be.
    """

    model: onnx.ModelProto
    ranges: Ranges
    form: QuantPlan
    every: QuantPlan

    @property
    def whole(self) -> tuple[str, ...]:
        """Parts of the target's form, in forward order."""
        return self.form.parts

    def plan(self, parts: Sequence[str]) -> QuantPlan:
        """Return the plan of `parts`: as the form quantizes them, or whole where it would not."""
        by_form = set(self.whole)
        choices = []
        for first, second in zip(self.form.choices, self.every.choices, strict=True):
            choice = first if first.part in by_form else second
            if choice.precision == INT8 and choice.part not in parts:
                choice = replace(choice, precision="float", reason="not worth it: the search")
            choices.append(choice)
        return QuantPlan(self.form.form, tuple(choices), self.form.notes)

    def build(self, parts: Sequence[str]) -> onnx.ModelProto:
        """Return the graph with `parts` in INT8; the float graph for none."""
        import onnx

        if parts:
            return insert_qdq(self.model, self.ranges, self.plan(parts))
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        return copy

    def save(self, parts: Sequence[str], path: Path) -> int:
        """Write the graph of `parts`; return the number of its INT8 nodes."""
        import onnx

        onnx.save(self.build(parts), str(path))
        return len(self.plan(parts).nodes)


def make_mixed(floats: FloatGraph, request: QuantizeRequest, profile: Profile) -> Made:
    """Search the fastest set of INT8 parts within `max_miou_drop`; the float graph may win.

    Raises:
        InputError: no evaluation data, or a target that does not run here.
    """
    from .makers import Made

    target = _target(request, profile)
    variants = make_variants(floats, request, profile)
    cache = SearchCache(request.state)
    table, found = run_search(floats, variants, request, target, cache)
    chosen = next(item for item in found.trials if item.name == found.chosen)
    plan = variants.plan(chosen.parts)
    notes = (found.reason, f"INT8: {', '.join(chosen.parts) or 'nothing'}")
    done = PassNote(request.precision, len(plan.nodes), notes)
    rows = explain(floats.model, plan, variants.ranges)
    made = Made(variants.build(chosen.parts), variants.ranges, done, rows, plan, (found.reason,))
    return replace(made, sensitivity=table, search=found)


def make_variants(floats: FloatGraph, request: QuantizeRequest, profile: Profile) -> Variants:
    """Return the graph with every range any set of its parts needs."""
    from .makers import calibrated

    form = profile.form_for("int8")
    asked = dict.fromkeys(request.exclude, "excluded on request")
    by_form = make_plan(floats.model, form, exclude=asked)
    names = {item.part for item in by_form.choices if item.part}
    if not names:
        raise InputError(
            "Expected a graph with SegFormer parts to search, but its node names are foreign: "
            "start from the checkpoint, or use --precision int8."
        )
    every = make_plan(floats.model, form, parts=names, exclude=asked)
    tensors = dict.fromkeys(
        tensor
        for plan in (by_form, every, *_alone(floats.model, by_form, every))
        for tensor in quantized_tensors(floats.model, plan)
    )
    ranges = calibrated(floats, request, tuple(tensors), symmetric=form.symmetric)
    return Variants(floats.model, ranges, by_form, every)


def _alone(model: onnx.ModelProto, form: QuantPlan, every: QuantPlan) -> list[QuantPlan]:
    """Return the plan of each part alone: a quantizer may lie elsewhere than among others."""
    bare = Variants(model, Ranges("", True, 0, "", {}), form, every)
    return [bare.plan((part,)) for part in every.parts]


def run_search(
    floats: FloatGraph,
    variants: Variants,
    request: QuantizeRequest,
    target: Target,
    cache: SearchCache,
) -> tuple[Sensitivity, Search]:
    """Return the price of every part and all trials; what `cache` knows is not measured again."""
    from ...benchmark.price import Search
    from .search_measure import Bench

    evaluation = request.evaluation or ""
    points = DEFAULT_DROP_POINTS if request.max_miou_drop is None else request.max_miou_drop
    common = key_of(floats, variants.ranges, variants.form.form, target)
    with tempfile.TemporaryDirectory(prefix="segship-search-") as folder:
        bench = Bench(floats.artifact.path, target, evaluation, points / _PERCENT, Path(folder))
        table = cache.sensitivity(
            f"{common} {bench.data_digest} {PART_IMAGES}",
            lambda: bench.sensitivity(variants, PART_IMAGES, request.method),
        )

        def measure(parts: tuple[str, ...]) -> Trial:
            key = f"{common} {bench.data_digest} {', '.join(parts)}"
            trial = cache.trial(key, lambda: bench.trial(variants, parts))
            return replace(trial, kept=trial.miou_drop <= points / _PERCENT)

        trials, chosen = search(table.rows, variants.whole, measure, trials=request.trials)
    return table, Search(
        evaluation=evaluation,
        max_miou_drop=points / _PERCENT,
        trials=trials,
        chosen=chosen.name,
        reason=reason(trials, chosen, table, target),
        warnings=tuple(dict.fromkeys(line for item in trials for line in item.warnings)),
        **asdict(target),
    )


def reason(trials: Sequence[Trial], chosen: Trial, table: Sensitivity, target: Target) -> str:
    """Say in one sentence why a trial was chosen."""
    floats = f"{target.precision.upper()} on {target.runtime}"
    others = [item for item in trials if item.parts]
    if chosen.parts:
        lost = _PERCENT * chosen.miou_drop
        return (
            f"{len(chosen.parts)} parts in INT8 are {chosen.speedup:.2f}× as fast as {floats} "
            f"({chosen.latency_ms:.1f} ms) and lose {lost:+.2f} points of mIoU"
        )
    kept = [item for item in others if item.kept]
    if not chosen.kept:
        lost = _PERCENT * chosen.miou_drop
        return f"{floats} itself loses {lost:+.2f} points of mIoU: run the float graph in FP32"
    alone = sum((row.saved_ms or 0) > 0 and not row.doubtful for row in table.rows)
    parts = f"{alone} of {len(table.rows)} parts surely gain time alone"
    if not kept:
        return f"none of {len(others)} INT8 graphs stays within the budget: {floats} is returned"
    fastest = max(kept, key=lambda item: item.speedup)
    return (
        f"INT8 is not faster than {floats} here: the fastest of {len(kept)} graphs within the "
        f"budget takes {fastest.latency_ms:.1f} ms, {fastest.speedup:.2f}× as fast; {parts}; the "
        f"float graph is returned, run it in {target.precision.upper()}"
    )


def _target(request: QuantizeRequest, profile: Profile) -> Target:
    if request.evaluation is None:
        raise InputError(
            "Expected data to judge mixed precision on, but got none: name it with --eval SPEC."
        )
    if profile.runtime not in _RUNTIMES:
        raise InputError(
            f"Expected a target that runs here to search by measured time, but {profile.title} "
            "does not: use --precision int8, or search on the target."
        )
    precision = "fp32"
    if profile.runtime == "openvino":
        from ...runtimes.openvino_session import supports_bf16

        precision = "bf16" if supports_bf16() else "fp32"
    return Target(profile.runtime, precision, request.threads or usable_cores())
