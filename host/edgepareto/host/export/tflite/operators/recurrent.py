"""LSTM and RNN as TFLite's fused operators; GRU, which it lacks, and first states of their own step by step.

The fused operators keep their state between inferences: whoever runs the file resets its variables before each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.flat_model import Table
from edgepareto.host.export.tflite.operators.builtin import (
    apply,
    integers,
    joined,
    number,
    parts_of,
    shape_of,
    sliced,
)
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute, text_attribute

__all__ = ["gru", "lstm", "rnn"]

ONNX_OF_FUSED = (0, 2, 3, 1)  # ONNX keeps the gates i, o, f, c; TFLite wants i, f, c, o
LONGEST_UNROLLED = 256  # steps; beyond, a file of thousands of operators would be slower than useful
Direction = Callable[[int, int], int]
Step = Callable[[int, str, int, list[int]], list[int]]  # direction, name, what the input adds, states -> new states


@converts("LSTM", floats=True)
def lstm(c: Conversion, node: onnx.NodeProto) -> None:
    _require_common(c, node, ("Sigmoid", "Tanh", "Tanh"))
    if int_attribute(node, "input_forget", 0):
        raise Unsupported("LSTM with coupled gates (input_forget)")
    peephole = c.need_constant(node, 7, "peephole") if len(node.input) > 7 and node.input[7] else None
    if _has_own_start(c, node) or (len(node.output) > 2 and c.readers[node.output[2]]):
        if peephole is not None:
            raise Unsupported("LSTM with peepholes and a state of its own")
        _lstm_step_by_step(c, node)
        return
    weight, recurrent, bias = _weights(c, node)

    def arrays(number: int) -> list[Array | None]:
        summed = bias[number].reshape(2, -1).sum(axis=0)
        gates = [np.split(values, 4) for values in (weight[number], recurrent[number], summed)]
        first, again, offsets = ([parts[gate] for gate in ONNX_OF_FUSED] for parts in gates)
        peeps: list[Array | None] = [None] * 3
        if peephole is not None:  # ONNX i, o, f; TFLite i, f, o
            peeps = [np.split(peephole[number], 3)[gate] for gate in (0, 2, 1)]
        return [*first, *again, *peeps, *offsets, None, None]

    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    _give_fused(c, node, "UNIDIRECTIONAL_SEQUENCE_LSTM", options, arrays, ("hidden", "cell"))


@converts("RNN", floats=True)
def rnn(c: Conversion, node: onnx.NodeProto) -> None:
    activation = _require_common(c, node, ("Tanh",), ("Relu",))[0].upper()
    weight, recurrent, bias = _weights(c, node)
    if not _has_own_start(c, node):
        options = schema.SequenceRNNOptionsT()
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
        _give_fused(
            c, node, "UNIDIRECTIONAL_SEQUENCE_RNN", options,
            lambda number: [weight[number], recurrent[number], bias[number].reshape(2, -1).sum(axis=0)], ("hidden",),
        )  # fmt: skip
        return

    def step(number: int, name: str, part: int, states: list[int]) -> list[int]:
        again = _dense(c, states[0], recurrent[number], None, f"{name}_r")
        return [apply(c, activation, apply(c, "ADD", part, again))]

    _give_unrolled(c, node, lambda number: bias[number].reshape(2, -1).sum(axis=0), step)


@converts("GRU", floats=True)
def gru(c: Conversion, node: onnx.NodeProto) -> None:
    """ONNX's equations (operator GRU-14); gates z, r, h."""
    _require_common(c, node, ("Sigmoid", "Tanh"))
    _, recurrent, bias = _weights(c, node)
    hidden = recurrent.shape[-1]
    reset_last = int_attribute(node, "linear_before_reset", 0) == 1

    def first_bias(number: int) -> Array:
        """Only the last gate's second bias may stand inside the reset."""
        own, again = np.split(bias[number], 2)
        outside = 2 * hidden if reset_last else 3 * hidden
        return np.concatenate([own[:outside] + again[:outside], own[outside:]])

    def step(number: int, name: str, part: int, states: list[int]) -> list[int]:
        both, last = np.split(recurrent[number], [2 * hidden])
        x_zr, x_h = parts_of(c, part, [2 * hidden, hidden], 1)
        opened = apply(c, "LOGISTIC", apply(c, "ADD", x_zr, _dense(c, states[0], both, None, f"{name}_zr")))
        z, r = parts_of(c, opened, [hidden, hidden], 1)
        if reset_last:
            inner = apply(c, "MUL", r, _dense(c, states[0], last, bias[number, 5 * hidden :], f"{name}_h"))
        else:
            inner = _dense(c, apply(c, "MUL", r, states[0]), last, None, f"{name}_h")
        new = apply(c, "TANH", apply(c, "ADD", x_h, inner))
        fresh = apply(c, "MUL", apply(c, "SUB", number_one, z), new)
        return [apply(c, "ADD", fresh, apply(c, "MUL", z, states[0]))]

    number_one = number(c, 1)
    _give_unrolled(c, node, first_bias, step)


def _lstm_step_by_step(c: Conversion, node: onnx.NodeProto) -> None:
    """For what the fused operator has not: a first state that is given, and the last cell state as an output."""
    _, recurrent, bias = _weights(c, node)
    hidden = recurrent.shape[-1]

    def step(number: int, name: str, part: int, states: list[int]) -> list[int]:
        gates = apply(c, "ADD", part, _dense(c, states[0], recurrent[number], None, f"{name}_r"))
        three, fresh = parts_of(c, gates, [3 * hidden, hidden], 1)
        entering, leaving, forgetting = parts_of(c, apply(c, "LOGISTIC", three), [hidden] * 3, 1)
        new = apply(c, "MUL", entering, apply(c, "TANH", fresh))
        cell = apply(c, "ADD", apply(c, "MUL", forgetting, states[1]), new)
        return [apply(c, "MUL", leaving, apply(c, "TANH", cell)), cell]

    cells = _give_unrolled(c, node, lambda number: bias[number].reshape(2, -1).sum(axis=0), step, states=2)
    if len(node.output) > 2 and node.output[2]:
        lasts = [c.reshaped_copy(cell, (1, *shape_of(c, cell))) for cell in cells]
        c.give_plain(node.output[2], joined(c, lasts, 0))


def _give_fused(
    c: Conversion, node: onnx.NodeProto, code: str, options: Table, arrays: Callable[[int], list[Array | None]],
    states: Sequence[str],
) -> None:  # fmt: skip
    """arrays: of a direction, in the operator's order; None is an input that is absent."""
    hidden = int(c.constants[node.input[2]].shape[-1])
    steps, batch, _ = c.shape(node.input[0])
    options.timeMajor = True

    def direction(data: int, number: int) -> int:
        name = f"{node.output[0] or node.output[1]}_{number}"
        given = [-1 if a is None else c.weights(a, f"{name}_{i}") for i, a in enumerate(arrays(number))]
        own = [c.flat.tensor(f"{name}_{state}", (batch, hidden), "float32", state=True) for state in states]
        norms = [-1] * 4 if "cell" in states else []
        return c.compute(code, [data, *given, *own, *norms], (steps, batch, hidden), "float32", options)

    _give_directions(c, node, direction, hidden)


def _give_unrolled(
    c: Conversion, node: onnx.NodeProto, first_bias: Callable[[int], Array], step: Step, *, states: int = 1
) -> list[int]:
    """What the input adds is one product for all steps. Returns the last of each direction's last state."""
    weight, recurrent, _ = _weights(c, node)
    hidden = int(recurrent.shape[-1])
    steps, batch, features = c.shape(node.input[0])
    if steps > LONGEST_UNROLLED:
        raise Unsupported(f"{node.op_type} that is unrolled over {steps} steps, {LONGEST_UNROLLED} are possible")
    lasts = []

    def direction(data: int, number: int) -> int:
        name = f"{node.output[0] or node.output[1]}_{number}"
        rows = c.reshaped(data, (steps * batch, features))
        wide = _dense(c, rows, weight[number], first_bias(number), f"{name}_x")
        width = weight.shape[1]
        parts = parts_of(c, c.reshaped(wide, (steps, batch, width)), [1] * steps, 0)
        now = [_start(c, node, 5 + place, number, (batch, hidden)) for place in range(states)]
        outputs = []
        for part in parts:
            now = step(number, name, c.reshaped(part, (batch, width)), now)
            outputs.append(now[0])
        lasts.append(now[-1])
        options = schema.PackOptionsT()
        options.valuesCount = steps
        return c.compute("PACK", outputs, (steps, batch, hidden), "float32", options)

    _give_directions(c, node, direction, hidden)
    return lasts


def _give_directions(c: Conversion, node: onnx.NodeProto, direction: Direction, hidden: int) -> None:
    """Y (steps, directions, batch, hidden) and the last state (directions, batch, hidden), where they are wanted."""
    steps, batch, _ = c.shape(node.input[0])
    data = c.plain(node.input[0])
    which = text_attribute(node, "direction", "forward")
    runs = []
    if which in ("forward", "bidirectional"):
        runs.append((direction(data, 0), steps - 1))
    if which in ("reverse", "bidirectional"):
        turned = direction(_reversed(c, data), len(runs))
        runs.append((_reversed(c, turned), 0))
    if node.output[0]:
        raised = [c.reshaped(run, (steps, 1, batch, hidden)) for run, _ in runs]
        c.give_plain(node.output[0], joined(c, raised, 1))
    if len(node.output) > 1 and node.output[1]:
        lasts = [sliced(c, run, [last, 0, 0], [1, batch, hidden]) for run, last in runs]
        c.give_plain(node.output[1], joined(c, lasts, 0))


def _require_common(c: Conversion, node: onnx.NodeProto, *allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The activations of each direction, one of the allowed; the first is ONNX's default. Raises Unsupported."""
    given = next((tuple(a.decode() for a in x.strings) for x in node.attribute if x.name == "activations"), None)
    directions = 2 if text_attribute(node, "direction", "forward") == "bidirectional" else 1
    found = next((one for one in allowed if given in (None, one * directions)), None)
    if found is None:
        raise Unsupported(f"{node.op_type} with activations {', '.join(given or ())}")
    if float_attribute(node, "clip", 0.0):
        raise Unsupported(f"{node.op_type} with a clip")
    if int_attribute(node, "layout", 0):
        raise Unsupported(f"{node.op_type} of layout 1")
    if len(node.input) > 4 and node.input[4]:
        length = c.constant(node.input[4])
        if length is None or (length != c.shape(node.input[0])[0]).any():
            raise Unsupported(f"{node.op_type} over sequences of several lengths")
    return found


def _has_own_start(c: Conversion, node: onnx.NodeProto) -> bool:
    """Whether its first state is something else than zeros."""
    for position in (5, 6):
        if len(node.input) > position and node.input[position]:
            start = c.constant(node.input[position])
            if start is None or start.any():
                return True
    return False


def _start(c: Conversion, node: onnx.NodeProto, position: int, number: int, size: tuple[int, int]) -> int:
    """(batch, hidden) of one direction."""
    if len(node.input) > position and node.input[position]:
        name = node.input[position]
        value = c.constant(name)
        if value is not None:
            return c.weights(value[number], f"{name}_{number}")
        whole = c.plain(name)
        if c.shape(name)[0] > 1:
            whole = parts_of(c, whole, [1] * c.shape(name)[0], 0)[number]
        return c.reshaped(whole, size)
    return c.weights(np.zeros(size, np.float32), "start")


def _weights(c: Conversion, node: onnx.NodeProto) -> tuple[Array, Array, Array]:
    """W, R and B, (directions, ...) each; B zero where the node has none."""
    weight, recurrent = c.need_constant(node, 1, "weight"), c.need_constant(node, 2, "recurrent weight")
    if len(node.input) > 3 and node.input[3]:
        return weight, recurrent, c.need_constant(node, 3, "bias")
    return weight, recurrent, np.zeros((weight.shape[0], 2 * weight.shape[1]), np.float32)


def _dense(c: Conversion, rows: int, weight: Array, bias: Array | None, name: str) -> int:
    offset = np.zeros(len(weight), np.float32) if bias is None else bias
    inputs = [rows, c.shared_weights(weight, f"{name}_weight"), c.shared_weights(offset, f"{name}_bias")]
    shape = (shape_of(c, rows)[0], len(weight))
    return c.compute("FULLY_CONNECTED", inputs, shape, "float32", schema.FullyConnectedOptionsT())


def _reversed(c: Conversion, tensor: int) -> int:
    inputs = [tensor, integers(c, [0], "steps")]
    return c.compute("REVERSE_V2", inputs, shape_of(c, tensor), "float32", schema.ReverseV2OptionsT())
