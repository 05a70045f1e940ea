"""The operators of a TFLite model at their real sizes, as LiteRT's interpreter lists them.

Its shapes are NHWC, and here they come out as operator_sizes.py takes them. What a delegate took over is listed as it
stands in the file, and the delegate itself is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from edgepareto.agent.simulation.cost_model import Operator, OpKind
from edgepareto.agent.simulation.operator_sizes import (
    Shape,
    convolution,
    movement,
    product,
    recurrence,
    transposed_convolution,
)

__all__ = ["list_lite_operators"]

Interpreter: TypeAlias = Any  # the library has no types

_POOLS = ("AVERAGE_POOL_2D", "L2_POOL_2D", "MAX_POOL_2D", "MEAN", "REDUCE_MAX")
_ACTIVATIONS = (
    *("ELU", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "PRELU", "TANH"),
    *("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1"),
)
_KINDS = {
    **dict.fromkeys(_POOLS, OpKind.POOL),
    **dict.fromkeys(_ACTIVATIONS, OpKind.ACTIVATION),
    **dict.fromkeys(("CONCATENATION", "PACK"), OpKind.CONCAT),
}
# A view of the same memory, and what stands for the operators that a delegate took over.
_FREE = frozenset({"DELEGATE", "EXPAND_DIMS", "RESHAPE", "SQUEEZE"})
_UNPACKED = "DEQUANTIZE"  # of weights kept as 16-bit floats: once, as the model is loaded
# How many inputs behind the first are matrices that each step of a sequence meets, where none is left out.
_RECURRENT = {"UNIDIRECTIONAL_SEQUENCE_LSTM": 8, "UNIDIRECTIONAL_SEQUENCE_RNN": 2}
_MATRIX_AXES = 2


def list_lite_operators(interpreter: Interpreter) -> tuple[Operator, ...]:
    """In execution order. interpreter: with its tensors allocated."""
    shapes = {int(one["index"]): tuple(map(int, one["shape"])) for one in interpreter.get_tensor_details()}
    computed = {int(one["index"]) for one in interpreter.get_input_details()}
    operators = []
    for node in interpreter._get_ops_details():  # the only way to ask
        name = str(node["op_name"])
        inputs = [int(place) for place in node["inputs"] if place >= 0]
        outputs = [int(place) for place in node["outputs"]]
        if name in _FREE or (name == _UNPACKED and computed.isdisjoint(inputs)):
            computed.update(outputs if not computed.isdisjoint(inputs) else ())
            continue
        computed.update(outputs)
        operators.append(_operator(name, [shapes[place] for place in inputs], shapes[outputs[0]]))
    return tuple(operator for operator in operators if operator.outputs)


def _operator(name: str, inputs: Sequence[Shape], output: Shape) -> Operator:
    if name in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        return product(inputs, output)
    if name in _RECURRENT:
        data, *others = inputs
        matrices = [shape for shape in others[: _RECURRENT[name]] if len(shape) == _MATRIX_AXES]
        return recurrence(data, matrices, output)
    output = _channels_first(output)
    if name == "CONV_2D":
        data, weights, *more = inputs  # weights: (outputs, *kernel, inputs / groups)
        return convolution([_channels_first(data), _channels_first(weights), *more], output)
    if name == "DEPTHWISE_CONV_2D":
        data, (_, *kernel, channels), *more = inputs
        return convolution([_channels_first(data), (channels, 1, *kernel), *more], output)
    if name == "TRANSPOSE_CONV":
        _, (channels_out, *kernel, channels_in), data, *more = inputs
        return transposed_convolution([_channels_first(data), (channels_in, channels_out, *kernel), *more], output)
    return movement(_KINDS.get(name, OpKind.ELEMENTWISE), [_channels_first(shape) for shape in inputs], output)


def _channels_first(shape: Sequence[int]) -> Shape:
    """(n, *places, channels) -> (n, channels, *places)."""
    return (shape[0], shape[-1], *shape[1:-1]) if len(shape) > 1 else tuple(shape)
