"""LSTM and RNN as TFLite's fused operators, GRU, which it lacks, step by step.

The fused operators keep their state between inferences: whoever runs the file resets its variables before each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute, text_attribute

__all__ = ["gru", "lstm", "rnn"]

TANH = schema.ActivationFunctionType.TANH
ONNX_OF_FUSED = (0, 2, 3, 1)  # ONNX keeps the gates i, o, f, c; TFLite wants i, f, c, o
LONGEST_UNROLLED = 256  # steps; beyond, a file of thousands of operators would be slower than useful
Direction = Callable[[int, int], int]


@converts("LSTM")
def lstm(c: Conversion, node: onnx.NodeProto) -> None:
    _require_common(c, node, ("Sigmoid", "Tanh", "Tanh"))
    if int_attribute(node, "input_forget", 0):
        raise Unsupported("LSTM with coupled gates (input_forget)")
    if _has_own_start(c, node) or (len(node.output) > 2 and c.readers[node.output[2]]):
        _lstm_step_by_step(c, node)
        return
    weight, recurrent, bias = _weights(c, node)
    peephole = c.need_constant(node, 7, "peephole") if len(node.input) > 7 and node.input[7] else None
    hidden = recurrent.shape[-1]
    steps, batch, _ = c.shape(node.input[0])

    def direction(data: int, number: int) -> int:
        name = f"{node.output[0] or node.output[1]}_{number}"
        gates = [_gate(weight[number], gate, hidden) for gate in ONNX_OF_FUSED]
        again = [_gate(recurrent[number], gate, hidden) for gate in ONNX_OF_FUSED]
        summed = bias[number, : 4 * hidden] + bias[number, 4 * hidden :]
        offsets = [_gate(summed, gate, hidden) for gate in ONNX_OF_FUSED]
        peeps = [-1, -1, -1]
        if peephole is not None:  # ONNX i, o, f; TFLite i, f, o
            peeps = [c.weights(_gate(peephole[number], gate, hidden), f"{name}_peephole{gate}") for gate in (0, 2, 1)]
        inputs = [
            data,
            *(c.weights(gate, f"{name}_w{i}") for i, gate in enumerate(gates)),
            *(c.weights(gate, f"{name}_r{i}") for i, gate in enumerate(again)),
            *peeps,
            *(c.weights(gate, f"{name}_b{i}") for i, gate in enumerate(offsets)),
            -1, -1,
            c.flat.tensor(f"{name}_hidden", (batch, hidden), "float32", state=True),
            c.flat.tensor(f"{name}_cell", (batch, hidden), "float32", state=True),
            -1, -1, -1, -1,
        ]  # fmt: skip
        options = schema.UnidirectionalSequenceLSTMOptionsT()
        options.fusedActivationFunction, options.timeMajor = TANH, True
        return c.compute("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, (steps, batch, hidden), "float32", options)

    _give_directions(c, node, direction, hidden)


@converts("RNN")
def rnn(c: Conversion, node: onnx.NodeProto) -> None:
    _require_common(c, node, ("Tanh",))
    if _has_own_start(c, node):
        raise Unsupported("RNN whose first state is not zero")
    weight, recurrent, bias = _weights(c, node)
    hidden = recurrent.shape[-1]
    steps, batch, _ = c.shape(node.input[0])

    def direction(data: int, number: int) -> int:
        name = f"{node.output[0] or node.output[1]}_{number}"
        inputs = [
            data,
            c.weights(weight[number], f"{name}_w"),
            c.weights(recurrent[number], f"{name}_r"),
            c.weights(bias[number, :hidden] + bias[number, hidden:], f"{name}_b"),
            c.flat.tensor(f"{name}_hidden", (batch, hidden), "float32", state=True),
        ]
        options = schema.SequenceRNNOptionsT()
        options.fusedActivationFunction, options.timeMajor = TANH, True
        return c.compute("UNIDIRECTIONAL_SEQUENCE_RNN", inputs, (steps, batch, hidden), "float32", options)

    _give_directions(c, node, direction, hidden)


@converts("GRU")
def gru(c: Conversion, node: onnx.NodeProto) -> None:
    """ONNX's equations (operator GRU-14); gates z, r, h. What the input adds is one product for all steps."""
    _require_common(c, node, ("Sigmoid", "Tanh"))
    weight, recurrent, bias = _weights(c, node)
    hidden = recurrent.shape[-1]
    steps, batch, features = c.shape(node.input[0])
    if steps > LONGEST_UNROLLED:
        raise Unsupported(f"GRU over {steps} steps, {LONGEST_UNROLLED} are possible")
    reset_last = int_attribute(node, "linear_before_reset", 0) == 1

    def direction(data: int, number: int) -> int:
        name = f"{node.output[0] or node.output[1]}_{number}"
        size = (batch, hidden)
        own, again = bias[number, : 3 * hidden], bias[number, 3 * hidden :]
        # Only the last gate's second bias stands inside the reset.
        first = own.copy()
        first[: 2 * hidden] += again[: 2 * hidden]
        if not reset_last:
            first[2 * hidden :] += again[2 * hidden :]
        rows = c.reshaped(data, (steps * batch, features))
        wide = _dense(c, rows, weight[number], first, f"{name}_x", steps * batch)
        parts = _split(c, c.reshaped(wide, (steps, batch, 3 * hidden)), [1] * steps, 0)
        both = recurrent[number, : 2 * hidden]
        last = recurrent[number, 2 * hidden :]
        state = _start(c, node, 5, number, size)
        states = []
        one = c.flat.constant(np.array(1, np.float32), "one")
        for part in parts:
            x_zr, x_h = _split(c, c.reshaped(part, (batch, 3 * hidden)), [2 * hidden, hidden], 1)
            h_zr = _dense(c, state, both, np.zeros(2 * hidden, np.float32), f"{name}_zr", batch)
            wide_sum = _binary(c, "ADD", x_zr, h_zr, (batch, 2 * hidden))
            z, r = _split(c, c.compute("LOGISTIC", [wide_sum], (batch, 2 * hidden), "float32"), [hidden, hidden], 1)
            if reset_last:
                inner = _dense(c, state, last, again[2 * hidden :], f"{name}_h", batch)
                inner = _binary(c, "MUL", r, inner, size)
            else:
                inner = _dense(
                    c, _binary(c, "MUL", r, state, size), last, np.zeros(hidden, np.float32), f"{name}_h", batch
                )
            new = c.compute("TANH", [_binary(c, "ADD", x_h, inner, size)], size, "float32")
            fresh = _binary(c, "MUL", _binary(c, "SUB", one, z, size), new, size)
            state = _binary(c, "ADD", fresh, _binary(c, "MUL", z, state, size), size)
            states.append(state)
        return _packed(c, states, (steps, batch, hidden))

    _give_directions(c, node, direction, hidden)


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
        c.give_plain(node.output[0], _joined(c, raised, 1, (steps, len(runs), batch, hidden)))
    if len(node.output) > 1 and node.output[1]:
        lasts = []
        for run, last in runs:
            begin = c.flat.constant(np.array([last, 0, 0], np.int32), "begin")
            size = c.flat.constant(np.array([1, batch, hidden], np.int32), "size")
            lasts.append(c.compute("SLICE", [run, begin, size], (1, batch, hidden), "float32", schema.SliceOptionsT()))
        c.give_plain(node.output[1], _joined(c, lasts, 0, (len(runs), batch, hidden)))


def _require_common(c: Conversion, node: onnx.NodeProto, activations: Sequence[str]) -> None:
    given = next(([a.decode() for a in x.strings] for x in node.attribute if x.name == "activations"), None)
    directions = 2 if text_attribute(node, "direction", "forward") == "bidirectional" else 1
    if given is not None and given != list(activations) * directions:
        raise Unsupported(f"{node.op_type} with activations {', '.join(given)}")
    if float_attribute(node, "clip", 0.0):
        raise Unsupported(f"{node.op_type} with a clip")
    if int_attribute(node, "layout", 0):
        raise Unsupported(f"{node.op_type} of layout 1")
    if len(node.input) > 4 and node.input[4]:
        length = c.constant(node.input[4])
        if length is None or (length != c.shape(node.input[0])[0]).any():
            raise Unsupported(f"{node.op_type} over sequences of several lengths")


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
            whole = _split(c, whole, [1] * c.shape(name)[0], 0)[number]
        return c.reshaped(whole, size)
    return c.weights(np.zeros(size, np.float32), "start")


def _lstm_step_by_step(c: Conversion, node: onnx.NodeProto) -> None:
    """For what the fused operator has not: a first state that is given, and the last cell state as an output."""
    if len(node.input) > 7 and node.input[7]:
        raise Unsupported("LSTM with peepholes and a state of its own")
    weight, recurrent, bias = _weights(c, node)
    hidden = recurrent.shape[-1]
    steps, batch, features = c.shape(node.input[0])
    if steps > LONGEST_UNROLLED:
        raise Unsupported(f"LSTM with a state of its own over {steps} steps, {LONGEST_UNROLLED} are possible")
    size = (batch, hidden)
    cells: list[int] = []

    def direction(data: int, number: int) -> int:
        name = f"{node.output[0] or node.output[1]}_{number}"
        summed = bias[number, : 4 * hidden] + bias[number, 4 * hidden :]
        wide = _dense(
            c, c.reshaped(data, (steps * batch, features)), weight[number], summed, f"{name}_x", steps * batch
        )
        parts = _split(c, c.reshaped(wide, (steps, batch, 4 * hidden)), [1] * steps, 0)
        state, cell = _start(c, node, 5, number, size), _start(c, node, 6, number, size)
        states = []
        for part in parts:
            again = _dense(c, state, recurrent[number], np.zeros(4 * hidden, np.float32), f"{name}_r", batch)
            gates = _binary(c, "ADD", c.reshaped(part, (batch, 4 * hidden)), again, (batch, 4 * hidden))
            three, fresh = _split(c, gates, [3 * hidden, hidden], 1)
            opened = c.compute("LOGISTIC", [three], (batch, 3 * hidden), "float32")
            entering, leaving, forgetting = _split(c, opened, [hidden] * 3, 1)
            new = _binary(c, "MUL", entering, c.compute("TANH", [fresh], size, "float32"), size)
            cell = _binary(c, "ADD", _binary(c, "MUL", forgetting, cell, size), new, size)
            state = _binary(c, "MUL", leaving, c.compute("TANH", [cell], size, "float32"), size)
            states.append(state)
        cells.append(c.reshaped_copy(cell, (1, *size)))
        return _packed(c, states, (steps, *size))

    _give_directions(c, node, direction, hidden)
    if len(node.output) > 2 and node.output[2]:
        c.give_plain(node.output[2], _joined(c, cells, 0, (len(cells), *size)))


def _weights(c: Conversion, node: onnx.NodeProto) -> tuple[Array, Array, Array]:
    """W, R and B, (directions, ...) each; B zero where the node has none."""
    weight, recurrent = c.need_constant(node, 1, "weight"), c.need_constant(node, 2, "recurrent weight")
    if len(node.input) > 3 and node.input[3]:
        return weight, recurrent, c.need_constant(node, 3, "bias")
    return weight, recurrent, np.zeros((weight.shape[0], 2 * weight.shape[1]), np.float32)


def _gate(values: Array, number: int, hidden: int) -> Array:
    return values[number * hidden : (number + 1) * hidden]


def _dense(c: Conversion, rows: int, weight: Array, bias: Array, name: str, count: int) -> int:
    inputs = [rows, c.shared_weights(weight, f"{name}_weight"), c.shared_weights(bias, f"{name}_bias")]
    shape = (count, weight.shape[0])
    return c.compute("FULLY_CONNECTED", inputs, shape, "float32", schema.FullyConnectedOptionsT())


def _binary(c: Conversion, code: str, first: int, second: int, shape: Sequence[int]) -> int:
    options = {"ADD": schema.AddOptionsT, "SUB": schema.SubOptionsT, "MUL": schema.MulOptionsT}[code]()
    return c.compute(code, [first, second], shape, "float32", options)


def _split(c: Conversion, tensor: int, sizes: Sequence[int], axis: int) -> list[int]:
    shape = list(c.flat.tensors[tensor].shape)
    outputs = []
    for size in sizes:
        shape[axis] = size
        outputs.append(c.flat.tensor(f"part_{len(c.flat.tensors)}", shape, "float32"))
    options = schema.SplitVOptionsT()
    options.numSplits = len(sizes)
    where = [c.flat.constant(np.array(sizes, np.int32), "sizes"), c.flat.constant(np.array(axis, np.int32), "axis")]
    c.flat.operator("SPLIT_V", [tensor, *where], outputs, options)
    return outputs


def _packed(c: Conversion, states: list[int], shape: Sequence[int]) -> int:
    options = schema.PackOptionsT()
    options.valuesCount, options.axis = len(states), 0
    return c.compute("PACK", states, shape, "float32", options)


def _reversed(c: Conversion, tensor: int) -> int:
    over = c.flat.constant(np.array([0], np.int32), "steps")
    shape = list(c.flat.tensors[tensor].shape)
    return c.compute("REVERSE_V2", [tensor, over], shape, "float32", schema.ReverseV2OptionsT())


def _joined(c: Conversion, parts: list[int], axis: int, shape: Sequence[int]) -> int:
    if len(parts) == 1:
        return parts[0]
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    return c.compute("CONCATENATION", parts, shape, "float32", options)
