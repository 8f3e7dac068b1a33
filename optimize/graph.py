"""The last steps on a written ONNX graph: check it, count it, put contract and lineage inside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from .. import __version__
from ..data.contract import Contract
from ..runtimes.artifact import CONTRACT_KEY, LINEAGE_KEY, Lineage


def finish_graph(path: Path, contract: Contract, lineage: Lineage) -> dict[str, int]:
    """Check the ONNX file at `path`, embed its metadata and return how often each operator occurs.

    Raises:
        onnx.checker.ValidationError: the exporter wrote an invalid graph (a defect of ours).
    """
    import onnx

    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    model.producer_name, model.producer_version = "segship", __version__
    kind = "" if lineage.flavour == "module" else "SegFormer "
    model.doc_string = f"{kind}{lineage.variant} by segship {__version__}"
    metadata = {CONTRACT_KEY: contract.to_json(), LINEAGE_KEY: lineage.to_json()}
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    counts = Counter(node.op_type for node in model.graph.node)
    return dict(sorted(counts.items()))
