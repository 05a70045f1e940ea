"""An LSTM, GRU or RNN before its activations: gates as linear layers of the input and of the last state.

a_t = W x_t + R h_(t-1) + b per gate, in ONNX's layout: W (directions, gates x units, inputs), R (directions, gates x
units, units), B (directions, 2 x gates x units): W's biases, then R's. Peepholes are added to a and stay outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from edgepareto.host.pruning.normal_form.attributes import int_attribute
from edgepareto.host.pruning.slice_model import Draft
from numpy.typing import NDArray

__all__ = ["GatePart", "GateWeights", "gate_parts", "unit_rows"]

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePart:
    """Gates that are linear in the same features. gates: their places in W, R and B.

    resets: the state is multiplied by the reset gate first.
    """

    gates: tuple[int, ...]
    reads_input: bool = True
    reads_state: bool = True
    resets: bool = False


def gate_parts(node: onnx.NodeProto) -> tuple[GatePart, ...]:
    """The candidate of a GRU is W x + b + r * (R h + b') with linear_before_reset: two parts, of one term each. Without
    it is W x + R (r * h) + b, and left out where r is no sigmoid."""
    if node.op_type != "GRU":
        return (GatePart(gates=(0, 1, 2, 3) if node.op_type == "LSTM" else (0,)),)
    update_and_reset = GatePart(gates=(0, 1))
    if int_attribute(node, "linear_before_reset", 0):
        return update_and_reset, GatePart(gates=(2,), reads_state=False), GatePart(gates=(2,), reads_input=False)
    named = [
        name.decode() for attribute in node.attribute if attribute.name == "activations" for name in attribute.strings
    ]
    if any(name.lower() != "sigmoid" for name in named[::2]):
        return (update_and_reset,)
    return update_and_reset, GatePart(gates=(2,), resets=True)


class GateWeights:
    """The three arrays of a draft's node, read and replaced part by part. bias is None where the node has no B."""

    def __init__(self, draft: Draft, node: onnx.NodeProto) -> None:
        self._of_input, self._of_state, self._bias = node.input[1], node.input[2], (*node.input, "")[3]
        self._w = draft.arrays[self._of_input].astype(np.float32)
        self._r = draft.arrays[self._of_state].astype(np.float32)
        self._b = draft.arrays[self._bias].astype(np.float32) if self._bias else None
        self.directions, self._rows, self._units = self._r.shape

    def of(self, part: GatePart, direction: int) -> tuple[Array, Array | None]:
        """(gates x units, features) and (gates x units,); features: inputs, then units."""
        places = self._places(part)
        columns = []
        bias = np.zeros(len(places), dtype=np.float32)
        if part.reads_input:
            columns.append(self._w[direction, places])
            bias += self._b[direction, places] if self._b is not None else 0
        if part.reads_state:
            columns.append(self._r[direction, places])
            bias += self._b[direction, places + self._rows] if self._b is not None else 0
        return np.concatenate(columns, axis=1), bias if self._b is not None else None

    def replace(self, part: GatePart, direction: int, rows: Array, bias: Array) -> None:
        places = self._places(part)
        inputs = self._w.shape[2] if part.reads_input else 0
        if part.reads_input:
            self._w[direction, places] = rows[:, :inputs]
        if part.reads_state:
            self._r[direction, places] = rows[:, inputs:]
        if self._b is None:
            return
        if part.reads_input and part.reads_state:
            self._b[direction, places] = bias - self._b[direction, places + self._rows]
        else:
            self._b[direction, places + (0 if part.reads_input else self._rows)] = bias

    def are_finite(self) -> bool:
        return all(np.isfinite(array).all() for array in (self._w, self._r, self._b) if array is not None)

    def write(self, draft: Draft) -> None:
        for name, array in ((self._of_input, self._w), (self._of_state, self._r), (self._bias, self._b)):
            if array is not None:
                draft.arrays[name] = array.astype(draft.arrays[name].dtype)
                draft.changed.add(name)

    def _places(self, part: GatePart) -> NDArray[np.int64]:
        gates = np.array(part.gates, dtype=np.int64)[:, None]
        return np.asarray(gates * self._units + np.arange(self._units)).reshape(-1)


def unit_rows(weight: NDArray[np.generic], units: int) -> NDArray[np.generic]:
    """W or R with one row per unit of each direction: what it holds in all gates. units: of all directions."""
    directions = len(weight)
    by_gate = weight.reshape(directions, -1, units // directions, weight.shape[2])
    return np.asarray(by_gate.swapaxes(1, 2).reshape(units, -1))
