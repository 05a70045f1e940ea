"""Products of matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.registry import computes

__all__ = ["einsum", "gemm", "matmul"]


@computes("Gemm")
def gemm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    left, right, added = (*inputs, None)[:3]
    left = left.T if node.get("transA", 0) else left
    right = right.T if node.get("transB", 0) else right
    product = left @ right
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    product = product if alpha == 1 else alpha * product
    if added is None:
        return product
    return product + (added if beta == 1 else beta * added)


@computes("MatMul")
def matmul(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.matmul(*inputs)


@computes("Einsum")
def einsum(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.einsum(node.get("equation").replace(" ", ""), *inputs)
