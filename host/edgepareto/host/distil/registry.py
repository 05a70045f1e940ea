"""Which function computes which ONNX operator on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgepareto.host.distil.node import Node, Tensor

__all__ = ["OPERATORS", "Operator", "computes"]

Operator = Callable[[Node, Sequence[Tensor]], "Tensor | tuple[Tensor, ...]"]
"""A node and its inputs, None where one is left out, to its output or outputs. Raises Unsupported."""

OPERATORS: dict[str, Operator] = {}


def computes(*op_types: str) -> Callable[[Operator], Operator]:
    def register(operator: Operator) -> Operator:
        for op_type in op_types:
            assert op_type not in OPERATORS, op_type
            OPERATORS[op_type] = operator
        return operator

    return register
