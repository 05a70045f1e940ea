"""LSTM, GRU and RNN, step by step in ONNX's own order of gates, so that their weights are trained as they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.registry import computes
from edgepareto.host.distil.unsupported import Unsupported

__all__ = ["recur"]

State = tuple[Tensor, ...]  # hidden, and of an LSTM the cell, (batch, units) each
Step = Callable[[Tensor, State], State]
ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
PEEPHOLES, LENGTHS = 7, 4  # places among the inputs


@computes("LSTM", "GRU", "RNN")
def recur(node: Node, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Outputs: (steps, directions, batch, units), then the last state. Over whole sequences, without peepholes."""
    padded = [*inputs, *[None] * (PEEPHOLES + 1 - len(inputs))]
    data, weights, recurrent, biases = padded[:4]
    directions = 2 if node.get("direction", "forward") == "bidirectional" else 1
    node.require("activations", ACTIVATIONS[node.op_type] * directions)
    node.require("layout", 0)
    node.require("input_forget", 0)
    if padded[PEEPHOLES] is not None or padded[LENGTHS] is not None or node.get("clip") is not None:
        raise Unsupported(f"{node.op_type} with peepholes, clip or sequence_lens")
    units = recurrent.shape[-1]
    states = 2 if node.op_type == "LSTM" else 1
    zeros = data.new_zeros(directions, data.shape[1], units)
    initial = [zeros if given is None else given for given in padded[5 : 5 + states]]
    made, last = [], []
    for place in range(directions):
        biased = torch.zeros(2 * recurrent.shape[1]) if biases is None else biases[place]
        of_input, of_state = biased.chunk(2)
        driven = data @ weights[place].T + of_input
        step = _step(node, recurrent[place], of_state)
        is_backward = node.get("direction", "forward") == "reverse" or place == 1
        state: State = tuple(value[place] for value in initial)
        hidden = []
        for row in reversed(driven.unbind()) if is_backward else driven.unbind():
            state = step(row, state)
            hidden.append(state[0])
        made.append(torch.stack(hidden[::-1] if is_backward else hidden))
        last.append(state)
    return torch.stack(made, 1), *(torch.stack(parts) for parts in zip(*last, strict=True))


def _step(node: Node, recurrent: Tensor, bias: Tensor) -> Step:
    """recurrent: (gates * units, units)."""

    def lstm(driven: Tensor, state: State) -> State:
        hidden, cell = state
        enter, leave, keep, fresh = (driven + hidden @ recurrent.T + bias).chunk(4, -1)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(fresh)
        return torch.sigmoid(leave) * torch.tanh(cell), cell

    def gru(driven: Tensor, state: State) -> State:
        (hidden,) = state
        units = hidden.shape[-1]
        both = hidden @ recurrent[: 2 * units].T + bias[: 2 * units]
        update, reset = torch.sigmoid(driven[..., : 2 * units] + both).chunk(2, -1)
        of_new, of_bias = recurrent[2 * units :].T, bias[2 * units :]
        if node.get("linear_before_reset", 0):
            inner = reset * (hidden @ of_new + of_bias)
        else:
            inner = (reset * hidden) @ of_new + of_bias
        fresh = torch.tanh(driven[..., 2 * units :] + inner)
        return ((1 - update) * fresh + update * hidden,)

    def rnn(driven: Tensor, state: State) -> State:
        return (torch.tanh(driven + state[0] @ recurrent.T + bias),)

    return {"LSTM": lstm, "GRU": gru, "RNN": rnn}[node.op_type]
