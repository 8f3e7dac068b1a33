"""From a float graph to one of a precision: the plan, the ranges it needs, the new graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...calibration.cache import cache_key, cached_ranges
from ...calibration.collect import collect_ranges
from ...calibration.ranges import Ranges
from ...runtimes.artifact import HALF_QDQ, PassNote
from .edges import quantized_tensors
from .explain import NodeRow, explain
from .float_graph import FloatGraph
from .float_type import CAST_QDQ, HALF_OPSET, float_notes, half_around
from .fp16_int8 import fp16_around, opset_of
from .fp16_types import activations
from .improve import improve
from .plan import QuantForm, QuantPlan, make_plan
from .profile import Profile
from .qdq import insert_qdq
from .request import QuantizeRequest

if TYPE_CHECKING:
    import onnx

    from ...benchmark.price import Search, Sensitivity


@dataclass(frozen=True)
class Made:
    """A graph in another precision, what was done to it, and a row per node."""

    model: onnx.ModelProto
    ranges: Ranges
    done: PassNote
    rows: tuple[NodeRow, ...] = ()
    plan: QuantPlan | None = None
    notes: tuple[str, ...] = ()
    sensitivity: Sensitivity | None = None
    search: Search | None = None
    before: tuple[PassNote, ...] = ()  # what was done to the float graph before


def make_int8(floats: FloatGraph, request: QuantizeRequest, profile: Profile) -> Made:
    """Quantize the products the profile's form names, or with "int8-all" everything.

    Raises:
        InputError: an excluded part or node the graph does not have, or activations that are not
            finite.
    """
    opset = opset_of(floats.model)
    half = half_around(request, profile, opset)
    form = replace(profile.form_for(request.precision), half_scales=half)
    asked = dict.fromkeys(request.exclude, "excluded on request")
    plan = make_plan(floats.model, form, exclude=asked)
    tensors = tuple(quantized_tensors(floats.model, plan))
    # the ends of FP16 are judged on the extremes of all activations, which every method keeps
    ranges = calibrated(floats, request, None if half else tensors, symmetric=form.symmetric)
    improved = improve(floats, request, ranges, plan)
    model = insert_qdq(improved.model, ranges, plan)
    notes = (
        f"{len(plan.nodes)} nodes in INT8 for {profile.title}",
        f"{len(tensors)} activations, {ranges.method}, {ranges.images} images",
    )
    extra = (*plan.notes, *float_notes(request, profile, opset))
    rows = plan
    if half:
        around = fp16_around(model, improved.model, ranges, plan)
        model, rows = around.model, replace(plan, choices=around.choices)
        extra = (*extra, HALF_QDQ if opset >= HALF_OPSET else CAST_QDQ, *around.notes)
    done = PassNote(request.precision, len(plan.nodes), (*notes, *extra))
    table = improved.rows(explain(floats.model, rows, ranges))
    extra = (*improved.notes, *extra)
    return Made(model, ranges, done, table, plan, extra, before=improved.passes)


def calibrated(
    floats: FloatGraph,
    request: QuantizeRequest,
    tensors: tuple[str, ...] | None,
    *,
    symmetric: bool = True,
    method: str | None = None,
) -> Ranges:
    """Return the ranges of `tensors` (None: of all), from `request.ranges` where they are kept.

    Raises:
        InputError: the kept ranges are of another graph, data or method; or as `collect_ranges`.
    """
    chosen = method or request.method
    options: dict[str, Any] = {
        "method": chosen,
        "symmetric": symmetric,
        "percentile": request.percentile,
    }

    def collect() -> Ranges:
        return collect_ranges(floats.artifact.path, tensors, floats.pixels(), **options)

    key = cache_key(
        floats.artifact.path, floats.calibration.digest, floats.calibration.contract, **options
    )
    wanted = activations(floats.model) if tensors is None else tensors
    return cached_ranges(request.ranges, key, collect, tensors=wanted)


def make_fp16(floats: FloatGraph, request: QuantizeRequest, profile: Profile) -> Made:
    """Write FP16 casts, with islands in FP32 where the calibration images need them.

    Raises:
        InputError: the graph is in FP16 already, or activations are not finite.
    """
    from .fp16 import to_fp16

    del profile  # FP16 has one form
    ranges = calibrated(floats, request, None, method="minmax")
    result = to_fp16(floats.model, ranges, islands=request.exclude)
    rows = explain(floats.model, QuantPlan(QuantForm(), result.choices), ranges)
    halves = sum(choice.precision == "fp16" for choice in result.choices)
    return Made(
        result.model, ranges, PassNote("fp16", halves, result.notes), rows, None, result.notes
    )


def make_mixed(floats: FloatGraph, request: QuantizeRequest, profile: Profile) -> Made:
    """Search the parts whose INT8 is worth it; see `search_mixed.make_mixed`."""
    from .search_mixed import make_mixed as find

    return find(floats, request, profile)


MAKERS: dict[str, Callable[[FloatGraph, QuantizeRequest, Profile], Made]] = {
    "int8": make_int8,
    "int8-all": make_int8,
    "fp16": make_fp16,
    "mixed": make_mixed,
}
