"""Reshapes and orders of axes, against numpy."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from edgepareto.host.export.tflite import to_tflite
from edgepareto.host.export.tflite.placement import channels_last, moves_nothing, reshape_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

shapes = st.lists(st.sampled_from([1, 1, 2, 3, 4, 6]), min_size=1, max_size=5)
thorough = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@thorough
@given(before=shapes, data=st.data())
def test_the_runs_of_a_reshape_cover_all_axes_in_order_and_each_keeps_its_size(before: list[int], data: st.DataObject):
    after = data.draw(st.permutations(_split(math.prod(before), data)))
    runs = reshape_runs(before, after)
    assert [axis for run, _ in runs for axis in run] == list(range(len(before)))
    assert [axis for _, run in runs for axis in run] == list(range(len(after)))
    for inside, outside in runs:
        assert math.prod(before[a] for a in inside) == math.prod(after[a] for a in outside)


@thorough
@given(shape=shapes, data=st.data())
def test_an_order_that_moves_nothing_is_the_same_bytes(shape: list[int], data: st.DataObject):
    first, second = (tuple(data.draw(st.permutations(range(len(shape))))) for _ in range(2))
    values = np.arange(math.prod(shape)).reshape(shape)
    same = values.transpose(first).ravel().tolist() == values.transpose(second).ravel().tolist()
    if moves_nothing(shape, first, second):
        assert same
    else:
        assert not same


def test_channels_come_last_but_of_matrices():
    assert [channels_last(rank) for rank in (2, 3, 4)] == [(0, 1), (0, 2, 1), (0, 2, 3, 1)]


@pytest.mark.parametrize(
    ("shape", "middle", "permutation", "after"),
    [
        ((1, 8, 5, 5), (1, 2, 4, 5, 5), (0, 2, 1, 3, 4), (1, 8, 5, 5)),
        ((1, 6, 4, 4), (1, 6, 16), (0, 2, 1), (1, 16, 6)),
        ((1, 6, 4, 4), (1, 96), (1, 0), (96, 1)),
        ((1, 1, 4, 4), (1, 4, 4), (2, 1, 0), (4, 4, 1)),
    ],
)
def test_a_channel_shuffle_and_other_detours_end_where_onnx_says(
    shape: tuple[int, ...], middle: tuple[int, ...], permutation: tuple[int, ...], after: tuple[int, ...]
):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "middle"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=permutation),
        helper.make_node("Reshape", ["c", "after"], ["y"]),
    ]
    eye = np.eye(shape[1], dtype=np.float32)[:, :, None, None]
    graph = helper.make_graph(
        nodes,
        "detour",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, after)],
        [
            onnx.numpy_helper.from_array(value, name)
            for name, value in (("w", eye), ("middle", np.array(middle)), ("after", np.array(after)))
        ],
    )
    lite = to_tflite(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    assert lite.inputs["x"].order == (0, 2, 3, 1)
    seen = lite.output_of("y", _run(lite.content, lite.input_of("x", x)))
    np.testing.assert_array_equal(seen, x.reshape(middle).transpose(permutation).reshape(after))


def _run(content: bytes, x: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return interpreter.get_signature_runner()(x=x)["y"]


def _split(total: int, data: st.DataObject) -> list[int]:
    factors = [1] * data.draw(st.integers(0, 2))
    while total > 1:
        factor = data.draw(st.sampled_from([n for n in range(2, total + 1) if total % n == 0]))
        factors.append(factor)
        total //= factor
    return factors or [1]
