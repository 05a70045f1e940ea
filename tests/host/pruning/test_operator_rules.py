"""Operators with a rule on the cases of ONNX's own backend tests, where one between two layers can be cut.

Cut channels change nothing else. UNCUT names the operators of which no case can be cut.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import islice

import numpy as np
import onnx
import onnx.backend.test.case.node as node_cases
import pytest
from edgepareto.host.pruning import Analysis, analyse, prepare
from edgepareto.host.pruning.cuts import BlockCut, IndexCut
from edgepareto.host.pruning.operators import RULES
from edgepareto.host.pruning.slice_model import Kept, kept_classes
from models.silence import outputs_of
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Feeds = dict[str, NDArray[np.float32]]
CASES_PER_OPERATOR = 3
LOWEST_OPSET = 7
INFINITE = "empty_set"  # these give infinity, and infinity times zero is no number


UNCUT = {
    # no case: none at all, or only vectors, truth values, indices, sizes and doubles
    "And", "ArgMax", "ArgMin", "Cast", "Clip", "Einsum", "Equal", "GlobalLpPool", "Greater", "GreaterOrEqual", "IsInf",
    "IsNaN", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mish", "Mod", "Not", "Or", "Pad", "ReduceLogSumExp", "Round",
    "Shape", "Shrink", "Sign", "Size", "Sum", "Swish", "Where", "Xor",
    # a single channel, or channels that are resized
    "Conv", "Expand", "Resize", "Upsample",
    # channels that are compared or normalised together
    "GroupNormalization", "LRN", "LpNormalization", "MeanVarianceNormalization", "TopK",
}  # fmt: skip
ONLY_CONV = {
    "AveragePool", "Celu", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool",
    "InstanceNormalization", "LayerNormalization", "LpPool", "MaxPool", "RMSNormalization", "ReduceL1", "ReduceL2",
    "SpaceToDepth",
}  # fmt: skip
ONLY_MATMUL = {
    "Flatten", "GRU", "Gemm", "Identity", "LSTM", "MatMul", "RNN", "ReduceLogSum", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSumSquare", "Split",
}  # fmt: skip
CUT_BETWEEN = [
    *((operator, True) for operator in sorted(set(RULES) - UNCUT - ONLY_MATMUL)),
    *((operator, False) for operator in sorted(set(RULES) - UNCUT - ONLY_CONV)),
]


@cache
def modules() -> dict[str, str]:
    """By operator in small letters; loading all of them takes seconds."""
    found = pkgutil.iter_modules(node_cases.__path__)
    return {module.name.replace("_", ""): f"{node_cases.__name__}.{module.name}" for module in found}


@cache
def cases(operator: str) -> tuple[onnx.backend.test.case.TestCase, ...]:
    """Single nodes, with data."""
    module = modules().get(operator.lower()) or modules().get(f"{operator.lower()}op")
    if module is None:
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(module)  # whose cases are then among all
    return tuple(
        case
        for case in node_cases._NodeTestCases
        if case.model is not None
        and [node.op_type for node in case.model.graph.node] == [operator]
        and INFINITE not in case.name
    )


def can_be_cut(operator: str, *, convolutions: bool) -> Iterator[tuple[onnx.ModelProto, Feeds, Analysis]]:
    """All outputs are read where that can be cut, else the first alone: a mean freezes what it is of."""
    for case in cases(operator):
        for all_outputs in (True, False):
            made = between_layers(case, convolutions=convolutions, all_outputs=all_outputs)
            if made is not None and (analysis := analyse(made[0])).groups:
                yield *made, analysis
                break


def between_layers(
    case: onnx.backend.test.case.TestCase, *, convolutions: bool, all_outputs: bool
) -> tuple[onnx.ModelProto, Feeds] | None:
    """The node behind one layer, and all its outputs of floats or only the first each before another layer.

    Its other inputs become constants. None: data that does not fit.

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

    def fits(value: NDArray[np.generic]) -> bool:
        return bool(value.dtype == np.float32 and value.ndim >= (3 if convolutions else 2) and value.size)

    if not fits(first) or not fits(result):
        return None
    random = np.random.default_rng(len(case.name))
    node = onnx.NodeProto()
    node.CopyFrom(case.model.graph.node[0])
    given = {value.name: array for value, array in zip(case.model.graph.input, inputs, strict=True)}
    start = case.model.graph.input[0].name

    def layer(data: str, width: int, made: int, rank: int, output: str) -> onnx.NodeProto:
        weight = random.uniform(0.1, 1, size=(made, width)).astype(np.float32)
        shape = (made, width, *[1] * (rank - 2)) if convolutions else (width, made)
        given[f"{output}/weight"] = (weight if convolutions else weight.T).reshape(shape)
        return helper.make_node("Conv" if convolutions else "MatMul", [data, f"{output}/weight"], [output], name=output)

    axis = 1 if convolutions else -1
    before = layer("in", first.shape[axis], first.shape[axis], first.ndim, start)
    after = [
        layer(end.name, value.shape[axis], 3, value.ndim, f"out{number}")
        for number, (end, value) in enumerate(zip(case.model.graph.output, outputs, strict=True))
        if fits(value) and (all_outputs or number == 0)
    ]
    del given[start]
    graph = helper.make_graph(
        [before, node, *after],
        case.name,
        [helper.make_tensor_value_info("in", 1, first.shape)],
        [helper.make_tensor_value_info(each.output[0], 1, None) for each in after],
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


@pytest.mark.parametrize(("operator", "convolutions"), CUT_BETWEEN)
def test_cutting_channels_around_an_operator_changes_nothing_else(operator: str, convolutions: bool):
    found = list(islice(can_be_cut(operator, convolutions=convolutions), CASES_PER_OPERATOR))
    assert found
    for model, feeds, analysis in found:
        prepared = prepare(analysis, None, criterion="l1")
        genome = analysis.search_space().uniform(0.5)
        pruned = prepared.prune(genome, recovery="none").model
        wanted = outputs_of(deafened(analysis, kept_classes(analysis, prepared.importance, genome)), feeds)
        for got, each in zip(outputs_of(pruned, feeds), wanted, strict=True):
            np.testing.assert_allclose(got, each, rtol=1e-4, atol=1e-4 * np.abs(each).max())
        for got, each in zip(outputs_of(analysis.model, feeds), outputs_of(model, feeds), strict=True):
            np.testing.assert_allclose(got, each, rtol=1e-5, atol=1e-5)


def test_the_operators_left_out_are_those_of_which_no_case_can_be_cut():
    left_out = [
        *((operator, convolutions) for operator in UNCUT for convolutions in (True, False)),
        *((operator, False) for operator in ONLY_CONV),
        *((operator, True) for operator in ONLY_MATMUL),
    ]
    assert {operator for operator, _ in left_out} <= set(RULES)
    assert [pair for pair in left_out if any(True for _ in can_be_cut(pair[0], convolutions=pair[1]))] == []
