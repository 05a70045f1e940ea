"""Every operator that has a rule, on the cases that ONNX's own backend tests use: cut channels change nothing else."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from edgepareto.host.pruning import Analysis, analyse, prepare
from edgepareto.host.pruning.graph_walk import BlockCut, IndexCut
from edgepareto.host.pruning.operators import RULES
from edgepareto.host.pruning.slice_model import Kept, kept_classes
from models.silence import outputs_of
from numpy.typing import NDArray
from onnx import helper, numpy_helper

CASES_PER_OPERATOR = 3
LOWEST_OPSET = 7
INFINITE = "empty_set"  # these give infinity, and infinity times zero is no number


@pytest.fixture(scope="module")
def cases() -> dict[str, list[onnx.backend.test.case.TestCase]]:
    """By operator: single nodes, with data."""
    import onnx.backend.test.case.node as node_cases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = node_cases.collect_testcases("")
    by_operator: dict[str, list[onnx.backend.test.case.TestCase]] = {}
    for case in found:
        if case.model is not None and len(case.model.graph.node) == 1 and INFINITE not in case.name:
            by_operator.setdefault(case.model.graph.node[0].op_type, []).append(case)
    return by_operator


def between_layers(
    case: onnx.backend.test.case.TestCase, *, convolutions: bool
) -> tuple[onnx.ModelProto, dict[str, NDArray[np.float32]]] | None:
    """The node behind one layer and before another; its other inputs become constants. None: data that does not fit.

    What it reads is positive, as Sqrt and Log want it.
    """
    if not case.data_sets or not case.data_sets[0][0]:
        return None
    inputs, outputs = case.data_sets[0]
    first, result = inputs[0], outputs[0]
    tensors = (*inputs, result)
    opset = max((entry.version for entry in case.model.opset_import if entry.domain == ""), default=0)
    if not all(isinstance(value, np.ndarray) for value in tensors) or opset < LOWEST_OPSET:
        return None
    if any(
        value.dtype != np.float32 or value.ndim < (3 if convolutions else 2) or not value.size
        for value in (first, result)
    ):
        return None
    random = np.random.default_rng(len(case.name))
    node = onnx.NodeProto()
    node.CopyFrom(case.model.graph.node[0])
    given = {value.name: array for value, array in zip(case.model.graph.input, inputs, strict=True)}
    start, end = case.model.graph.input[0].name, case.model.graph.output[0].name

    def layer(data: str, width: int, made: int, rank: int, output: str) -> onnx.NodeProto:
        weight = random.uniform(0.1, 1, size=(made, width)).astype(np.float32)
        shape = (made, width, *[1] * (rank - 2)) if convolutions else (width, made)
        given[f"{output}/weight"] = (weight if convolutions else weight.T).reshape(shape)
        return helper.make_node("Conv" if convolutions else "MatMul", [data, f"{output}/weight"], [output], name=output)

    axis = 1 if convolutions else -1
    before = layer("in", first.shape[axis], first.shape[axis], first.ndim, start)
    after = layer(end, result.shape[axis], 3, result.ndim, "out")
    del given[start]
    graph = helper.make_graph(
        [before, node, after],
        case.name,
        [helper.make_tensor_value_info("in", 1, first.shape)],
        [helper.make_tensor_value_info("out", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    return helper.make_model(graph, opset_imports=case.model.opset_import, ir_version=8), {"in": np.abs(first)}


def deafened(analysis: Analysis, kept: Kept) -> onnx.ModelProto:
    """The dense model whose layers do not hear the channels that `kept` lacks."""
    arrays = {name: value.copy() for name, value in analysis.constants.items()}
    heard = {layer.weight: layer.input_axis for layer in analysis.graph.layers if layer.inputs is not None}
    for cut in analysis.graph.cuts:
        if isinstance(cut, IndexCut) or heard.get(cut.tensor) != cut.axis:
            continue
        blocks = cut.labels if isinstance(cut, BlockCut) else [cut.labels]
        for part, labels in zip(np.split(arrays[cut.tensor], len(blocks)), blocks, strict=True):
            np.moveaxis(part, cut.axis, 0)[~kept[labels]] = 0
    model = onnx.ModelProto()
    model.CopyFrom(analysis.model)
    del model.graph.initializer[:]
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    return model


@pytest.mark.parametrize("convolutions", [True, False], ids=["conv", "matmul"])
@pytest.mark.parametrize("operator", sorted(RULES))
def test_cutting_channels_around_an_operator_changes_nothing_else(operator, convolutions, cases):
    made = [pair for case in cases.get(operator, []) if (pair := between_layers(case, convolutions=convolutions))]
    for model, feeds in made[:CASES_PER_OPERATOR]:
        analysis = analyse(model)
        prepared = prepare(analysis, None, criterion="l1")
        genome = analysis.search_space().uniform(0.5)
        pruned = prepared.prune(genome, recovery="none").model
        wanted = outputs_of(deafened(analysis, kept_classes(analysis, prepared.importance, genome)), feeds)[0]
        np.testing.assert_allclose(outputs_of(pruned, feeds)[0], wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
        np.testing.assert_allclose(
            outputs_of(analysis.model, feeds)[0], outputs_of(model, feeds)[0], rtol=1e-5, atol=1e-5
        )


def test_these_cases_do_cut_channels(cases):
    """So that the test above proves something."""
    cut = set()
    for operator, found in cases.items():
        for convolutions in (True, False):
            pairs = [between_layers(case, convolutions=convolutions) for case in found[:CASES_PER_OPERATOR]]
            if any(pair is not None and analyse(pair[0]).groups for pair in pairs):
                cut.add(operator)
    assert len(cut & set(RULES)) > 60
    assert cut <= set(RULES)
