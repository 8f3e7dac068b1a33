"""The small reader against the onnx package, and against damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segship.common.errors import InputError
from segship.runtimes.onnx_file import read_onnx_file
from segship.runtimes.session import TensorInfo


def _described(value: onnx.ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    return TensorInfo(
        value.name, dtype, tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
    )


@pytest.mark.parametrize("name", ["dynamic_onnx", "static_onnx"])
def test_reads_what_the_onnx_package_reads(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    model = onnx.load(path)
    found = read_onnx_file(path)
    assert found.metadata == {item.key: item.value for item in model.metadata_props}
    assert found.inputs == tuple(_described(item) for item in model.graph.input)
    assert found.outputs == tuple(_described(item) for item in model.graph.output)
    assert not found.external


def test_weights_listed_as_inputs_are_no_inputs(static_onnx: Path, tmp_path: Path) -> None:
    model = onnx.load(static_onnx)
    for weight in model.graph.initializer:
        model.graph.input.append(
            onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        )
    onnx.save(model, tmp_path / "old.onnx")
    assert [item.name for item in read_onnx_file(tmp_path / "old.onnx").inputs] == ["pixels"]


def test_weights_in_another_file_are_noticed(static_onnx: Path, tmp_path: Path) -> None:
    onnx.save(
        onnx.load(static_onnx), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0
    )
    assert read_onnx_file(tmp_path / "m.onnx").external


def test_every_truncation_is_one_error(static_onnx: Path, tmp_path: Path) -> None:
    """Cut anywhere, the file lacks its metadata at least: it is refused or visibly poorer."""
    data, cut = static_onnx.read_bytes(), tmp_path / "cut.onnx"
    whole = read_onnx_file(static_onnx)
    refused = 0
    for length in np.linspace(0, len(data) - 1, 200).astype(int):
        cut.write_bytes(data[:length])
        try:
            assert read_onnx_file(cut) != whole
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and str(cut) in str(error)
    assert refused > 190


# the function-scoped folder is rewritten by every example, on purpose
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=300))
def test_random_bytes_never_break_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "random.onnx"
    path.write_bytes(data)
    try:
        assert isinstance(read_onnx_file(path).metadata, dict)
    except InputError as error:
        assert "export it again" in str(error)
