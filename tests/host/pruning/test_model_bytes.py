"""Bytes made from arrays, against protobuf's own serialiser."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from edgepareto.host.pruning.model_bytes import model_bytes
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

RANDOM = np.random.default_rng(3)
WEIGHTS: dict[str, NDArray[np.generic]] = {
    "matrix": RANDOM.normal(size=(40, 33)).astype(np.float32),
    "not contiguous": RANDOM.normal(size=(8, 6)).astype(np.float32).T[1:, ::2],
    "half": RANDOM.normal(size=300).astype(np.float16),
    "bfloat16": RANDOM.normal(size=(2, 3)).astype(ml_dtypes.bfloat16),
    "four bits": np.arange(-3, 4).astype(ml_dtypes.int4),
    "flags": np.array([True, False]),
    "scalar": np.array(7, dtype=np.int64),
    "nothing": np.zeros((0, 4), dtype=np.float64),
    "words": np.array(["a", "bc"], dtype=object),
}


@pytest.mark.parametrize("names", [tuple(WEIGHTS), *[(name,) for name in WEIGHTS], ()], ids=len)
def test_the_bytes_are_those_of_protobufs_own_serialiser(names: tuple[str, ...]) -> None:
    outline = _outline()
    whole = onnx.ModelProto()
    whole.CopyFrom(outline)
    whole.graph.initializer.extend(numpy_helper.from_array(WEIGHTS[name], name) for name in names)
    written = model_bytes(outline, {name: WEIGHTS[name] for name in names})
    assert written == whole.SerializeToString(deterministic=True)
    assert not outline.graph.initializer


def _outline() -> onnx.ModelProto:
    """Has something in the fields on either side of the graph and of its initializers."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="relu")], "graph", values[:1], values[1:])
    graph.doc_string = "behind the initializers"
    model = helper.make_model(graph, producer_name="before the graph", doc_string="x" * 200)
    helper.set_model_props(model, {"labels": "behind the graph"})
    return model
