from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.external_data import refuse_external_data
from onnx import TensorProto, helper, numpy_helper


def external(name: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def in_an_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(external("e"))


def in_a_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["e"], value=external("e")))


def in_a_branch(model: onnx.ModelProto) -> None:
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("e", 1, [4])], [external("e")])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))


def in_a_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["e"], value=external("e"))
    model.functions.append(helper.make_function("own", "f", [], ["e"], [node], [helper.make_opsetid("", 17)]))


def in_sparse_values(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(external("e"))


def in_training_info(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(external("e"))


def by_its_location_alone(model: onnx.ModelProto) -> None:
    model.graph.initializer.add(name="e", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)


@pytest.mark.parametrize(
    "hide",
    [
        in_an_initializer,
        in_a_constant,
        in_a_branch,
        in_a_function,
        in_sparse_values,
        in_training_info,
        by_its_location_alone,
    ],
)
def test_external_data_is_found_wherever_a_tensor_can_be(
    hide: Callable[[onnx.ModelProto], None], scale: onnx.ModelProto, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    hide(scale)
    model.write_bytes(scale.SerializeToString())
    with pytest.raises(WorkerError, match="external data") as caught:
        refuse_external_data(model)
    assert caught.value.status is Status.INVALID_MODEL


def test_weights_that_look_like_external_data_are_not(scale: onnx.ModelProto, tmp_path: Path) -> None:
    disguised = np.frombuffer(external("e").SerializeToString().ljust(64, b"\0"), dtype=np.uint8)
    scale.graph.initializer.append(numpy_helper.from_array(disguised, "disguised"))
    model = tmp_path / "model.onnx"
    model.write_bytes(scale.SerializeToString())
    refuse_external_data(model)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\xff" * 40, b"\x3a\x7f"])
def test_a_file_that_is_no_protobuf_is_an_invalid_model(content: bytes, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(content)
    with pytest.raises(WorkerError) as caught:
        refuse_external_data(model)
    assert caught.value.status is Status.INVALID_MODEL


def test_every_truncation_of_a_model_is_refused_or_left_to_the_runtime(scale: onnx.ModelProto, tmp_path: Path) -> None:
    content = scale.SerializeToString()
    for length in range(1, len(content)):
        model = tmp_path / "model.onnx"
        model.write_bytes(content[:length])
        with contextlib.suppress(WorkerError):  # and nothing else
            refuse_external_data(model)
