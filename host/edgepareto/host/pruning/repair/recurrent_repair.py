"""Least squares and moments for LSTM, GRU and RNN, gate by gate before its activation (see recurrent_gates).

W, R and b of the kept units are solved again, so that the gates come nearest to the dense model's. x comes from the
repaired prefix. The state is the dense model's first (a cut network's own states are so far off that weights fitted to
them mend the wrong thing), then, for least squares, once more the repaired node's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from edgepareto.host.errors import EvaluationError
from edgepareto.host.pruning.layer import Layer
from edgepareto.host.pruning.normal_form.attributes import text_attribute
from edgepareto.host.pruning.repair.patches import POSITIONS_PER_IMAGE, SEED
from edgepareto.host.pruning.repair.recovery import Repair, fit_rows, match_moments
from edgepareto.host.pruning.repair.recurrent_gates import GatePart, GateWeights, gate_parts
from edgepareto.host.pruning.repair.segments import Chunks, Segment, run_segment
from edgepareto.host.pruning.slice_model import Draft
from numpy.typing import NDArray
from scipy.special import expit

__all__ = ["DenseGates", "observe_gates", "repair_gates", "states_of"]

LENGTHS, FIRST_STATE = 4, 5  # inputs of the node

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseGates:
    """Of the dense model, at the sampled steps. terms: per part, (directions, rows, gates x units).

    steps: per chunk, places on the flat (steps, batch). states: (directions, rows, units), of the step before.
    """

    steps: tuple[NDArray[np.int64], ...]
    parts: tuple[GatePart, ...]
    terms: tuple[Array, ...]
    states: Array

    @property
    def variance(self) -> float:
        """Summed over all gates of all units."""
        return float(sum(term.var(axis=1, dtype=np.float64).sum() for term in self.terms))


def states_of(draft: Draft, segment: Segment, live: Mapping[str, Chunks]) -> Chunks:
    """The state after each step, (steps, directions, batch, units) per chunk, of the node that the segment starts with.

    live: what the node reads.
    """
    node = onnx.NodeProto()
    node.CopyFrom(draft.nodes[segment.start])
    every_step = node.output[0] or f"{node.name}/every_step"
    del node.output[:]
    node.output.append(every_step)
    nodes = list(draft.nodes)
    nodes[segment.start] = node
    inputs = tuple(dict.fromkeys(name for name in node.input if name and name not in draft.arrays))
    alone = replace(segment, stop=segment.start + 1, inputs=inputs, outputs=(every_step,))
    return run_segment(alone, replace(draft, nodes=nodes), live)[every_step]


def observe_gates(draft: Draft, layer: Layer, number: int, live: Mapping[str, Chunks], states: Chunks) -> DenseGates:
    """draft: the dense model. number: the layer's, which draws the steps. states: of each step."""
    node = draft.nodes[layer.node]
    chosen = tuple(_chosen_steps(draft, layer, number, live))
    inputs = _inputs(live[layer.data], chosen)
    before = _states_before(draft, node, live, states, chosen)
    weights = GateWeights(draft, node)
    parts = gate_parts(node)
    terms: list[Array] = []
    for part in parts:
        of_part = []
        for direction in range(weights.directions):
            rows, bias = weights.of(part, direction)
            term = _features(part, inputs, before[direction], terms, direction) @ rows.T
            of_part.append(term if bias is None else term + bias)
        terms.append(np.stack(of_part))
    return DenseGates(steps=chosen, parts=parts, terms=tuple(terms), states=before)


def repair_gates(
    draft: Draft, layer: Layer, segment: Segment, live: Mapping[str, Chunks], dense: DenseGates, recovery: str
) -> None:
    """Replace W, R and B of the layer's node in the draft; the segment starts with it.

    Raises EvaluationError where the numbers leave the range of floats.
    """
    node = draft.nodes[layer.node]
    directions = len(dense.states)
    kept = draft.kept[layer.outputs].reshape(directions, -1)
    targets = [
        np.stack([term[d][:, np.tile(kept[d], len(part.gates))] for d in range(directions)])
        for part, term in zip(dense.parts, dense.terms, strict=True)
    ]
    inputs = _inputs(live[layer.data], dense.steps)
    states = np.stack([dense.states[d][:, kept[d]] for d in range(directions)])
    _refit(draft, node, dense.parts, inputs, states, targets, recovery)
    if recovery != "moment":
        states = _states_before(draft, node, live, states_of(draft, segment, live), dense.steps)
        _refit(draft, node, dense.parts, inputs, states, targets, recovery)


def _refit(
    draft: Draft,
    node: onnx.NodeProto,
    parts: Sequence[GatePart],
    inputs: Array,
    states: Array,
    targets: Sequence[Array],
    recovery: str,
) -> None:
    weights = GateWeights(draft, node)
    with np.errstate(over="ignore", invalid="ignore"):  # the result is looked at below
        for part, of_part in zip(parts, targets, strict=True):
            for direction, wanted in enumerate(of_part):
                features = _features(part, inputs, states[direction], targets, direction)
                rows, bias = weights.of(part, direction)
                if recovery != "moment":
                    repaired = _fit(features, wanted, rows, bias, inputs.shape[1] if part.reads_input else 0)
                elif bias is not None:
                    repaired = match_moments(features @ rows.T + bias, wanted, rows, bias)
                else:
                    continue
                weights.replace(part, direction, *repaired)
    if not weights.are_finite():
        raise EvaluationError(f"layer '{node.name}' cannot be repaired: its activations are not finite; check the data")
    weights.write(draft)


def _fit(features: Array, wanted: Array, rows: Array, bias: Array | None, inputs: int) -> Repair:
    """The penalty of a fit goes by the mean variance of its features: inputs and states get the same before."""
    scale = np.ones(features.shape[1], dtype=np.float32)
    for block in (slice(0, inputs), slice(inputs, None)):
        deviation = np.sqrt(features[:, block].var(axis=0).mean()) if scale[block].size else 0.0
        scale[block] = 1 / deviation if deviation > 0 else 1.0
    fitted, new_bias = fit_rows(features * scale, wanted, rows / scale, bias)
    return fitted * scale, new_bias


def _features(part: GatePart, inputs: Array, states: Array, terms: Sequence[Array], direction: int) -> Array:
    """(rows, features). terms: of the parts before; the first one ends in the reset gate."""
    columns = [inputs] if part.reads_input else []
    if part.resets:
        reset = terms[0][direction][:, states.shape[1] :]
        columns.append(states * expit(reset))
    elif part.reads_state:
        columns.append(states)
    return np.concatenate(columns, axis=1)


def _chosen_steps(draft: Draft, layer: Layer, number: int, live: Mapping[str, Chunks]) -> Iterator[NDArray[np.int64]]:
    """Per chunk, places on the flat (steps, batch): about twelve per sample, none behind the end of a sequence."""
    node = draft.nodes[layer.node]
    lengths = _given(draft, node, LENGTHS, live)
    for chunk, data in enumerate(live[layer.data]):
        steps, batch = data.shape[:2]
        places = np.arange(steps * batch)
        if lengths is not None:
            places = np.flatnonzero(np.arange(steps)[:, None] < np.asarray(lengths[chunk]))
        most = POSITIONS_PER_IMAGE * batch
        if len(places) > most:
            places = np.sort(np.random.default_rng([SEED, number, chunk]).choice(places, most, replace=False))
        yield places


def _inputs(chunks: Chunks, chosen: Sequence[NDArray[np.int64]]) -> Array:
    flat = [chunk.reshape(-1, chunk.shape[2])[places] for chunk, places in zip(chunks, chosen, strict=True)]
    return np.concatenate(flat).astype(np.float32, copy=False)


def _states_before(
    draft: Draft,
    node: onnx.NodeProto,
    live: Mapping[str, Chunks],
    states: Chunks,
    chosen: Sequence[NDArray[np.int64]],
) -> Array:
    """(directions, rows, units). Behind the end of a sequence all states are zero, as before its start by default."""
    firsts = _given(draft, node, FIRST_STATE, live)
    direction = text_attribute(node, "direction", "forward")
    parts = []
    for chunk, (after, places) in enumerate(zip(states, chosen, strict=True)):
        before = np.zeros(after.shape, dtype=np.float32)
        steps, directions, batch, units = after.shape
        for number in range(directions):
            backward = direction == "reverse" or number == 1
            here, there, end = (slice(0, -1), slice(1, None), -1) if backward else (slice(1, None), slice(0, -1), 0)
            before[here, number] = after[there, number]
            if firsts is not None:
                before[end, number] = firsts[chunk][number]
        parts.append(before.swapaxes(0, 1).reshape(directions, steps * batch, units)[:, places])
    return np.concatenate(parts, axis=1)


def _given(
    draft: Draft, node: onnx.NodeProto, position: int, live: Mapping[str, Chunks]
) -> Sequence[NDArray[np.generic]] | None:
    """An optional input of the node, per chunk."""
    name = node.input[position] if position < len(node.input) else ""
    if not name:
        return None
    return live[name] if name in live else [draft.arrays[name]] * len(live[node.input[0]])
