"""What is done on the graph before it is converted: nodes that one operator of TFLite does together become one."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import onnx
from edgepareto.host.export.tflite.conversion import Array
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute

__all__ = ["fold"]

LAYERS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0}
ROOT_2 = math.sqrt(2)
CLOSE = 1e-5


def fold(model: onnx.ModelProto, constants: dict[str, Array]) -> None:
    """In place; names and shapes of what stays do not change.

    A BatchNormalization that alone reads a layer with constant weights becomes part of them, a row that is added to a
    MatMul its third input, what exporters write for GELU one Gelu, and a division by a constant a product.
    """
    graph = _Graph(model, constants)
    for node in list(model.graph.node):
        if node.op_type == "BatchNormalization":
            _fold_normalisation(graph, node)
        elif node.op_type == "Add":
            _fold_bias(graph, node)
        elif node.op_type == "Erf":
            _fold_gelu(graph, node)
    kept = [node for node in model.graph.node if id(node) not in graph.gone]
    for node in kept:
        if node.op_type == "Div":
            _invert_divisor(graph, node)
    if graph.gone:
        copies = [onnx.NodeProto() for _ in kept]
        for copy, node in zip(copies, kept, strict=True):
            copy.CopyFrom(node)
        del model.graph.node[:]
        model.graph.node.extend(copies)


class _Graph:
    def __init__(self, model: onnx.ModelProto, constants: dict[str, Array]) -> None:
        self.constants = constants
        self.nodes = list(model.graph.node)  # kept, so that their ids stay theirs
        self.gone: set[int] = set()
        self.read_by: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.read_by[name].append(node)
        self.made_by = {name: node for node in self.nodes for name in node.output}
        self._outputs = {value.name for value in model.graph.output}

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        readers = self.read_by[name]
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def is_number(self, name: str, wanted: float) -> bool:
        value = self.constants.get(name)
        return value is not None and value.size == 1 and abs(float(value.item()) - wanted) < CLOSE

    def replace(self, last: onnx.NodeProto, *others: onnx.NodeProto) -> None:
        self.gone.update(id(node) for node in others)
        for name in last.output:
            self.made_by[name] = last


def _fold_normalisation(graph: _Graph, node: onnx.NodeProto) -> None:
    layer = graph.made_by.get(node.input[0])
    if layer is None or layer.op_type not in LAYERS or any(node.output[1:]):
        return
    if graph.only_reader(node.input[0]) is None or graph.only_reader(layer.input[1]) is None:
        return
    if any(name not in graph.constants for name in (*layer.input[1:], *node.input[1:])):
        return
    if layer.op_type == "Gemm" and (float_attribute(layer, "alpha", 1), float_attribute(layer, "beta", 1)) != (1, 1):
        return
    _fold(layer, node, graph.constants)
    graph.replace(layer, node)


def _fold_bias(graph: _Graph, node: onnx.NodeProto) -> None:
    for product, row in (tuple(node.input), tuple(node.input)[::-1]):
        layer, value = graph.made_by.get(product), graph.constants.get(row)
        if layer is None or layer.op_type != "MatMul" or len(layer.input) > 2 or value is None:
            continue
        matrix = graph.constants.get(layer.input[1])
        fits = matrix is not None and matrix.ndim == 2 and value.ndim == 1 and value.size == matrix.shape[1]
        if fits and layer.input[0] not in graph.constants and graph.only_reader(product) is not None:
            layer.input.append(row)
            layer.output[0] = node.output[0]
            graph.replace(layer, node)
            return


def _invert_divisor(graph: _Graph, node: onnx.NodeProto) -> None:
    """XNNPACK multiplies 8-bit integers and does not divide them; tflite-runtime has no such division at all."""
    name = node.input[1]
    value = graph.constants.get(name)
    if value is None or value.dtype != np.float32 or graph.only_reader(name) is None:
        return
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.asarray(1 / value, np.float32)
    if np.all(np.isfinite(inverse) & (np.abs(inverse) >= np.finfo(np.float32).tiny)):
        graph.constants[name] = inverse
        node.op_type = "Mul"


def _fold_gelu(graph: _Graph, erf: onnx.NodeProto) -> None:
    """x * 1/2 * (1 + erf(x / sqrt 2)), its three factors in any order."""
    inner, plus = graph.made_by.get(erf.input[0]), graph.only_reader(erf.output[0])
    if inner is None or plus is None or plus.op_type != "Add" or graph.only_reader(inner.output[0]) is None:
        return
    x = inner.input[0]
    if inner.op_type == "Mul" and x in graph.constants:
        x = inner.input[1]
    factor = inner.input[1] if x == inner.input[0] else inner.input[0]
    scales = (inner.op_type == "Div" and x == inner.input[0] and graph.is_number(factor, ROOT_2)) or (
        inner.op_type == "Mul" and graph.is_number(factor, 1 / ROOT_2)
    )
    if not scales or not any(graph.is_number(name, 1) for name in plus.input):
        return
    used = [inner, erf, plus]
    factors: list[str] = []
    name = plus.output[0]
    while set(factors) != {"x", "half"}:
        product = graph.only_reader(name)
        if product is None or product.op_type != "Mul":
            return
        other = product.input[1] if product.input[0] == name else product.input[0]
        found = _gelu_factors(graph, other, x)
        if not found or set(found) & set(factors):
            return
        before = graph.made_by.get(other)
        if found == ["x", "half"] and before is not None:
            used.append(before)
        factors += found
        used.append(product)
        name = product.output[0]
    last = used.pop()
    last.op_type, last.domain = "Gelu", ""
    del last.input[:], last.attribute[:]
    last.input.append(x)
    graph.replace(last, *used)


def _gelu_factors(graph: _Graph, name: str, x: str) -> list[str]:
    if name == x:
        return ["x"]
    if graph.is_number(name, 0.5):
        return ["half"]
    node = graph.made_by.get(name)
    halves = node is not None and node.op_type == "Mul" and x in node.input and graph.only_reader(name) is not None
    if node is not None and halves and any(graph.is_number(other, 0.5) for other in node.input):
        return ["x", "half"]
    return []


def _fold(layer: onnx.NodeProto, norm: onnx.NodeProto, constants: dict[str, Array]) -> None:
    gain, shift, mean, variance = (constants[name].astype(np.float64) for name in norm.input[1:5])
    factor = gain / np.sqrt(variance + float_attribute(norm, "epsilon", 1e-5))
    weight = constants[layer.input[1]]
    axis = LAYERS[layer.op_type]
    if layer.op_type == "Gemm" and int_attribute(layer, "transB", 0) == 0:
        axis = 1
    if layer.op_type == "ConvTranspose":
        group = int_attribute(layer, "group", 1)
        rows = weight.reshape(group, -1, *weight.shape[1:])
        scaled = rows * factor.reshape(group, 1, -1, *(1,) * (weight.ndim - 2))
        constants[layer.input[1]] = scaled.reshape(weight.shape).astype(np.float32)
    else:
        shape = [1] * weight.ndim
        shape[axis] = -1
        constants[layer.input[1]] = (weight * factor.reshape(shape)).astype(np.float32)
    bias = constants[layer.input[2]] if len(layer.input) > 2 and layer.input[2] else np.zeros(factor.size)
    name = f"{norm.output[0]}_folded_bias"
    constants[name] = (shift + (bias - mean) * factor).astype(np.float32)
    if len(layer.input) > 2:
        layer.input[2] = name
    else:
        layer.input.append(name)
    layer.output[0] = norm.output[0]
