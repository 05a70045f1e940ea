"""Gemm and MatMul: with a constant matrix a FULLY_CONNECTED, else a BATCH_MATMUL."""

from __future__ import annotations

import math

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.placement import plain
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute

__all__ = ["multiply", "multiply_and_add"]


@converts("Gemm")
def multiply_and_add(c: Conversion, node: onnx.NodeProto) -> None:
    a, b = node.input[0], node.input[1]
    alpha, beta = float_attribute(node, "alpha", 1.0), float_attribute(node, "beta", 1.0)
    matrix = c.need_constant(node, 1, "second matrix")
    if int_attribute(node, "transB", 0) == 0:
        matrix = matrix.T
    third = node.input[2] if len(node.input) > 2 and node.input[2] else ""
    bias = c.constant(third) if third else np.zeros(matrix.shape[0], np.float32)
    if bias is None or bias.size not in (1, matrix.shape[0]):
        raise Unsupported("Gemm whose third input is no constant row")
    bias = np.broadcast_to(np.float32(beta) * bias.reshape(-1), (matrix.shape[0],)).astype(np.float32)
    matrix = (np.float32(alpha) * matrix).astype(np.float32) if alpha != 1 else matrix
    shape = c.shape(node.output[0])
    if int_attribute(node, "transA", 0):
        rows = c.ordered(a, (1, 0))
    else:
        rows, matrix = _rows(c, a, matrix)
    made = _fully_connected(c, rows, c.weights(matrix, f"{b}_rows"), c.weights(bias, f"{node.output[0]}_bias"), shape)
    c.give_plain(node.output[0], made)


@converts("MatMul")
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
    if min(len(c.shape(a)), len(c.shape(b))) < 2:
        raise Unsupported("MatMul of a vector")
    rank = max(len(c.shape(a)), len(c.shape(b)))
    left, turned_left = _last_two(c, a, rank)
    right, turned_right = _last_two(c, b, rank)
    options = schema.BatchMatMulOptionsT()
    options.adjX, options.adjY = turned_left, turned_right
    c.give_plain(node.output[0], c.compute("BATCH_MATMUL", [left, right], shape, "float32", options))


def _rows(c: Conversion, name: str, matrix: Array) -> tuple[int, Array]:
    """The first factor, and the matrix (outputs, inputs): a flattened image stays as it lies, the matrix turns."""
    source = c.flattened(name)
    if source is None or matrix.shape[1] != math.prod(source.shape[1:]) or source.order[0] != 0:
        return c.plain(name), matrix
    turned = matrix.reshape(-1, *source.shape[1:]).transpose(0, *source.order[1:]).reshape(matrix.shape)
    return c.reshaped(source.tensor, (source.shape[0], matrix.shape[1])), turned


def _last_two(c: Conversion, name: str, rank: int) -> tuple[int, bool]:
    """In ONNX's order, but for the last two axes, which may lie turned."""
    shape = c.shape(name)
    order = plain(len(shape))
    turned = (*order[:-2], order[-1], order[-2])
    if name not in c.constants and len(shape) == rank and c.placed(name).order == turned:
        return c.placed(name).tensor, True
    return c.in_rank(name, plain(rank)), False


def _fully_connected(c: Conversion, rows: int, matrix: int, bias: int, shape: tuple[int, ...]) -> int:
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = len(shape) > 2
    return c.compute("FULLY_CONNECTED", [rows, matrix, bias], shape, "float32", options)
