"""Gemm and MatMul: with a constant matrix a FULLY_CONNECTED, else a BATCH_MATMUL."""

from __future__ import annotations

import math

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.operators.builtin import apply, number
from edgepareto.host.export.tflite.placement import plain
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute

__all__ = ["multiply", "multiply_and_add"]


@converts("Gemm", floats=True)
def multiply_and_add(c: Conversion, node: onnx.NodeProto) -> None:
    a, b = node.input[0], node.input[1]
    matrix, bias = c.constant(b), _constant_row(c, node)
    if matrix is None or bias is None:
        _multiply_computed(c, node)
        return
    alpha = float_attribute(node, "alpha", 1.0)
    if int_attribute(node, "transB", 0) == 0:
        matrix = matrix.T
    matrix = (np.float32(alpha) * matrix).astype(np.float32) if alpha != 1 else matrix
    shape = c.shape(node.output[0])
    if int_attribute(node, "transA", 0):
        rows = c.ordered(a, (1, 0))
    else:
        rows, matrix = _rows(c, a, matrix)
    made = _fully_connected(c, rows, c.weights(matrix, f"{b}_rows"), c.weights(bias, f"{node.output[0]}_bias"), shape)
    c.give_plain(node.output[0], made)


def _constant_row(c: Conversion, node: onnx.NodeProto) -> Array | None:
    """What the third input adds to every row; None where it is computed, or differs from row to row."""
    width = c.shape(node.output[0])[1]
    if len(node.input) < 3 or not node.input[2]:
        return np.zeros(width, np.float32)
    value = c.constant(node.input[2])
    if value is None or value.size not in (1, width) or value.shape[-1:] not in ((), (1,), (width,)):
        return None
    beta = np.float32(float_attribute(node, "beta", 1.0))
    return np.broadcast_to(beta * value.reshape(-1), (width,)).astype(np.float32)


def _multiply_computed(c: Conversion, node: onnx.NodeProto) -> None:
    left, right = (
        c.ordered(name, (1, 0) if int_attribute(node, turned, 0) else (0, 1))
        for name, turned in zip(node.input, ("transA", "transB"), strict=False)
    )
    shape = c.shape(node.output[0])
    made = c.compute("BATCH_MATMUL", [left, right], shape, "float32", schema.BatchMatMulOptionsT())
    made = _times(c, made, float_attribute(node, "alpha", 1.0))
    if len(node.input) > 2 and node.input[2]:
        third = _times(c, c.in_rank(node.input[2], plain(2)), float_attribute(node, "beta", 1.0))
        made = apply(c, "ADD", made, third)
    c.give_plain(node.output[0], made)


def _times(c: Conversion, tensor: int, factor: float) -> int:
    return tensor if factor == 1 else apply(c, "MUL", tensor, number(c, factor))


@converts("MatMul", floats=True)
def multiply(c: Conversion, node: onnx.NodeProto) -> None:
    a, b = node.input[:2]
    shape, matrix = c.shape(node.output[0]), c.constant(b)
    if matrix is not None and matrix.ndim == 2 and a not in c.constants and len(c.shape(a)) > 1:
        rows, matrix = _rows(c, a, matrix.T)
        # A third input, which ONNX's has not, is a sum that folding.py took in.
        row = c.need_constant(node, 2, "bias") if len(node.input) > 2 else np.zeros(matrix.shape[0], np.float32)
        bias = c.weights(row, f"{node.output[0]}_bias")
        c.give_plain(node.output[0], _fully_connected(c, rows, c.weights(matrix, f"{b}_rows"), bias, shape))
        return
    rank = max(len(c.shape(a)), len(c.shape(b)), 2)
    left, turned_left = _last_two(c, a, rank, vector=(1, -1))
    right, turned_right = _last_two(c, b, rank, vector=(-1, 1))
    options = schema.BatchMatMulOptionsT()
    options.adjX, options.adjY = turned_left, turned_right
    whole = list(shape)  # a vector was made a matrix
    whole[len(whole) :] = [1] * (len(c.shape(b)) == 1)
    whole[len(whole) - 1 : len(whole) - 1] = [1] * (len(c.shape(a)) == 1)
    made = c.compute("BATCH_MATMUL", [left, right], whole, "float32", options)
    c.give_plain(node.output[0], c.reshaped(made, shape))


def _rows(c: Conversion, name: str, matrix: Array) -> tuple[int, Array]:
    """The first factor, and the matrix (outputs, inputs): a flattened image stays as it lies, the matrix turns."""
    source = c.flattened(name)
    if source is None or matrix.shape[1] != math.prod(source.shape[1:]) or source.order[0] != 0:
        return c.plain(name), matrix
    turned = matrix.reshape(-1, *source.shape[1:]).transpose(0, *source.order[1:]).reshape(matrix.shape)
    return c.reshaped(source.tensor, (source.shape[0], matrix.shape[1])), turned


def _last_two(c: Conversion, name: str, rank: int, *, vector: tuple[int, int]) -> tuple[int, bool]:
    """In ONNX's order, but for the last two axes, which may lie turned. vector: the shape of what has one axis."""
    shape = c.shape(name)
    if len(shape) == 1:
        return c.reshaped(c.plain(name), [1] * (rank - 2) + [shape[0] if size < 0 else size for size in vector]), False
    order = plain(len(shape))
    turned = (*order[:-2], order[-1], order[-2])
    if name not in c.constants and len(shape) == rank and c.placed(name).order == turned:
        return c.placed(name).tensor, True
    return c.in_rank(name, plain(rank)), False


def _fully_connected(c: Conversion, rows: int, matrix: int, bias: int, shape: tuple[int, ...]) -> int:
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = len(shape) > 2
    return c.compute("FULLY_CONNECTED", [rows, matrix, bias], shape, "float32", options)
