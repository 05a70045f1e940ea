"""Weights as files bring them: beside the model, not numbers, too many."""

from __future__ import annotations

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from edgepareto.host.errors import ModelError
from edgepareto.host.export import onnx_file, read_model, require_sound, weight_files, write_model, write_model_bytes
from fakes.models import classifier, convolution, save
from onnx import TensorProto, helper, numpy_helper

NUMBERS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as told:
        read_model(path)
    assert str(told.value).startswith(f"{path}: ")
    assert "\n" not in str(told.value)
    return str(told.value)


def with_weights_beside(folder: Path, **entries: str | None) -> Path:
    """convolution() with all weights in weights.bin; `entries` change where the first one is said to be."""
    path = folder / "m.onnx"
    onnx.save_model(convolution(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load_model(path, load_external_data=False)
    first = model.graph.initializer[0]
    found = {entry.key: entry.value for entry in first.external_data} | entries
    del first.external_data[:]
    for key, value in found.items():
        if value is not None:
            first.external_data.add(key=key, value=value)
    return save(model, path)


def of_type(dtype: type, value: float, *, product: str = "MatMul") -> onnx.ModelProto:
    """x (N, 4) through one layer of weights w (4, 3), of which two are `value`."""
    weights = np.ones((4, 3), dtype)
    weights[1, 2] = weights[3, 0] = value
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [helper.make_node(product, ["x", "w"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", kind, ["N", 4] if product == "MatMul" else [4, 3])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_weights_that_are_no_numbers_are_named_and_counted_in_every_floating_type(tmp_path: Path, dtype):
    told = refusal(save(of_type(dtype, np.nan), tmp_path / "m.onnx"))
    assert "weight w holds 2 NaN among 12 values" in told
    told = refusal(save(of_type(dtype, -np.inf), tmp_path / "m.onnx"))
    assert "weight w holds 2 infinite among 12 values" in told
    read_model(save(of_type(dtype, 3.0), tmp_path / "m.onnx"))


def test_a_mask_of_minus_infinity_is_no_broken_weight_but_nan_is_one_anywhere(tmp_path: Path):
    read_model(save(of_type(np.float32, -np.inf, product="Add"), tmp_path / "mask.onnx"))
    assert "2 NaN" in refusal(save(of_type(np.float32, np.nan, product="Add"), tmp_path / "nan.onnx"))


def test_infinity_is_found_in_a_constant_and_behind_a_transpose(tmp_path: Path):
    model = of_type(np.float32, np.inf)
    tensor = model.graph.initializer.pop()
    model.graph.node[0].input[1] = "turned"
    turned = [
        helper.make_node("Constant", [], ["stored"], value=tensor),
        helper.make_node("Transpose", ["stored"], ["half"]),
        helper.make_node("Transpose", ["half"], ["turned"]),
    ]
    for node in reversed(turned):
        model.graph.node.insert(0, node)
    assert "weight stored holds 2 infinite" in refusal(save(model, tmp_path / "m.onnx"))


def test_several_broken_weights_are_counted(tmp_path: Path):
    model = convolution()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.full(tuple(tensor.dims), np.nan, np.float32), tensor.name))
    assert "weight w1 holds 72 NaN among 72 values, and 2 more weights do" in refusal(save(model, tmp_path / "m.onnx"))


def test_an_output_without_a_shape_is_no_reason_to_refuse_a_model(tmp_path: Path):
    model = convolution()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert read_model(save(model, tmp_path / "m.onnx")) == model


@pytest.mark.parametrize("entries", [{}, {"length": None}, {"checksum": "0" * 40}])
def test_weights_beside_the_model_come_inside_bit_by_bit(tmp_path: Path, entries):
    path = with_weights_beside(tmp_path, **entries)
    assert read_model(path) == convolution()
    assert weight_files(path) == (tmp_path / "weights.bin",)
    write_model(read_model(path), tmp_path / "whole.onnx")
    (tmp_path / "weights.bin").unlink()
    assert read_model(tmp_path / "whole.onnx") == convolution()


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"offset": "99999"}, "weights.bin is cut off at 2688 bytes, weight w1 ends at byte 100287; copy it again"),
        ({"length": "9"}, "weight w1 has 9 bytes from byte 0 in weights.bin, its shape (8, 1, 3, 3) needs 288"),
        ({"offset": "-4"}, "weight w1 has 288 bytes from byte -4"),
        ({"offset": "first"}, "makes no sense"),
        ({"location": "other.bin"}, "kept in other.bin, which is missing beside the model"),
        ({"location": None}, "kept in '', outside the model's folder"),
        ({"location": "zero\0.bin"}, "which is no file"),
        ({"location": "n" * 999}, "which is no file"),
        ({"location": "circle.bin"}, "circle.bin"),
        ({"location": "."}, "which is missing"),
    ],
)
def test_a_wrong_place_of_weights_is_refused_before_it_is_read(tmp_path: Path, entries, told):
    (tmp_path / "circle.bin").symlink_to("circle.bin")
    assert told in refusal(with_weights_beside(tmp_path, **entries))


def test_weights_cut_off_are_refused(tmp_path: Path):
    path = with_weights_beside(tmp_path)
    os.truncate(tmp_path / "weights.bin", 1000)
    assert "weights.bin is cut off at 1000 bytes, weight w2 ends at byte" in refusal(path)


def test_a_model_larger_than_one_file_can_be_is_refused_before_its_weights_are_read(tmp_path: Path):
    model = classifier()
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.extend([4, 150_000_000])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    path = save(model, tmp_path / "m.onnx")
    (tmp_path / "weights.bin").touch()
    os.truncate(tmp_path / "weights.bin", 2_400_000_000)  # a hole: it takes no room on the disk
    assert "its weights take 2.40 GB, one ONNX file holds at most 2.15 GB" in refusal(path)
    (tmp_path / "weights.bin").unlink()
    assert "is missing beside the model" in refusal(path)


def test_a_model_that_would_be_too_large_is_not_written(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST_MODEL_BYTES", 1000)
    with pytest.raises(ModelError, match="one ONNX file holds at most"):
        write_model(convolution(), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="one ONNX file holds at most"):
        write_model_bytes(convolution().SerializeToString(), tmp_path / "m.onnx")
    assert not any(tmp_path.iterdir())


def test_a_model_in_memory_is_checked_like_a_file_and_left_as_it_is(tmp_path: Path):
    model = convolution()
    require_sound(model, "it")
    assert model == convolution()
    outside = onnx.load_model(with_weights_beside(tmp_path), load_external_data=False)
    with pytest.raises(ModelError, match=r"^it: its weights are in other files; load them first"):
        require_sound(outside, "it")
    model.graph.node[0].op_type = "Convolution"
    with pytest.raises(ModelError, match=r"^it: is no valid ONNX model: "):
        require_sound(model, "it")
