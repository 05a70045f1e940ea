"""How much an error of a layer's outputs changes what the model puts out, measured by noise: no gradients, no labels.

It weighs the readers of one group against each other: an error early in a residual stream is not worth the same as one
at its end. r = E|f(y + n) - f(y)|^2 / E|f(y)|^2 divided by E|n|^2 / E|y|^2, both about their means, for the model's
outputs f and independent normal noise n on the outputs y of one layer at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.inference import ORT_ERRORS, open_session
from edgepareto.host.pruning.layer import LayerKind
from edgepareto.host.pruning.repair.segments import Chunks
from numpy.typing import NDArray

__all__ = ["measure_sensitivities"]

NOISE = 0.3  # of the outputs' deviation: about what half the channels cost
RUNS = 512  # samples through the model, over all layers: what the dense targets take
SAMPLES = 64  # of them per layer
LEAST = 1e-3  # of the largest: a layer that seems not to matter still breaks ties
SEED = 20_25

Outputs = list[NDArray[np.generic]]


def measure_sensitivities(
    analysis: Analysis, inputs: Mapping[str, Chunks], layers: Sequence[int], variances: Mapping[int, float]
) -> dict[int, float]:
    """Per layer number. inputs: the calibration samples. variances: of the dense outputs, summed over them.

    Recurrent layers, which have no outputs of their own, get the others' median. Outputs that are no floats, or whose
    shapes the noise changes (a list of detections), do not count. All are 1 where none is left, or where the model with
    noise cannot be run or does not react.
    """
    equal = dict.fromkeys(layers, 1.0)
    recurrent = (LayerKind.GATES, LayerKind.MEMORY)
    noisy = [number for number in layers if analysis.graph.layers[number].kind not in recurrent]
    if not noisy:
        return equal
    is_fixed = any(isinstance(size, int) for value in analysis.inputs for size in value.shape[:1])
    chunks = _first(inputs, max(1, min(SAMPLES, RUNS // len(noisy))), whole=is_fixed)
    try:
        session = open_session(_with_noise(analysis, noisy).SerializeToString())
        names = [analysis.graph.layers[number].output for number in noisy]
        types = {name: _element_type(analysis, name) for name in names}
        silence = {f"{name}/noise": np.zeros((), dtype=types[name]) for name in names}
        clean = [session.run(None, {**chunk, **silence}) for chunk in chunks]
        changes = {}
        for number, name in zip(noisy, names, strict=True):
            outputs = len(analysis.graph.layers[number].outputs)
            deviation = NOISE * np.sqrt(variances[number] / outputs)
            generator = np.random.default_rng([SEED, number])
            shaken = []
            for chunk, before in zip(chunks, clean, strict=True):
                shape = tuple(before[-len(names) + names.index(name)].tolist())
                noise = generator.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
                shaken.append(session.run(None, {**chunk, **silence, f"{name}/noise": noise.astype(types[name])}))
            changes[number] = _changes(clean, shaken, len(analysis.model.graph.output))
    except ORT_ERRORS:
        return equal
    comparable = set.intersection(*(set(of_outputs) for of_outputs in changes.values()))
    reactions = {
        number: sum(change for position, change in of_outputs.items() if position in comparable) / NOISE**2
        for number, of_outputs in changes.items()
    }
    largest = max(reactions.values())
    if not np.isfinite(largest) or largest <= 0:
        return equal
    middle = float(np.median(list(reactions.values())))
    return {number: max(reactions.get(number, middle), LEAST * largest) for number in layers}


def _with_noise(analysis: Analysis, layers: Sequence[int]) -> onnx.ModelProto:
    """The dense model with one more input per layer, added to its outputs, whose shapes are put out too."""
    model = onnx.ModelProto()
    model.CopyFrom(analysis.model)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    names = {analysis.graph.layers[number].output for number in layers}
    for node in nodes:
        made = [name for name in node.output if name in names]
        for position, name in enumerate(node.output):
            if name in names:
                node.output[position] = f"{name}/clean"
        model.graph.node.append(node)
        for name in made:
            model.graph.node.append(onnx.helper.make_node("Add", [f"{name}/clean", f"{name}/noise"], [name]))
            model.graph.node.append(onnx.helper.make_node("Shape", [f"{name}/clean"], [f"{name}/shape"]))
    for number in layers:
        name = analysis.graph.layers[number].output
        element_type = onnx.helper.np_dtype_to_tensor_dtype(_element_type(analysis, name))
        model.graph.input.append(onnx.helper.make_tensor_value_info(f"{name}/noise", element_type, None))
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}/shape", onnx.TensorProto.INT64, None))
    return model


def _first(inputs: Mapping[str, Chunks], samples: int, *, whole: bool) -> list[dict[str, NDArray[np.generic]]]:
    """The first samples, or all. whole: in chunks as they are, of which there may be more samples."""
    chunks: list[dict[str, NDArray[np.generic]]] = []
    taken = 0
    for index in range(len(next(iter(inputs.values())))):
        stop = None if whole else samples - taken
        chunk = {name: of_input[index][:stop] for name, of_input in inputs.items()}
        chunks.append(chunk)
        taken += max(len(values) for values in chunk.values())
        if taken >= samples:
            break
    return chunks


def _changes(clean: Sequence[Outputs], shaken: Sequence[Outputs], outputs: int) -> dict[int, float]:
    """Per output of the model that can be compared: the mean square of what changed, of the variance."""
    changes = {}
    for position in range(outputs):
        before, after = ([run[position] for run in runs] for runs in (clean, shaken))
        if not all(_are_comparable(*pair) for pair in zip(before, after, strict=True)):
            continue
        first, second = (np.concatenate([part.astype(np.float64).reshape(-1) for part in of]) for of in (before, after))
        variance = float(first.var()) if first.size else 0.0
        changes[position] = float(((second - first) ** 2).mean()) / variance if variance > 0 else 0.0
    return changes


def _are_comparable(before: object, after: object) -> bool:
    """Neither texts nor indices, nor a sequence, which the runtime gives as a list."""
    if not isinstance(before, np.ndarray) or not isinstance(after, np.ndarray):
        return False
    return bool(before.dtype.kind == "f" and before.shape == after.shape)


def _element_type(analysis: Analysis, name: str) -> np.dtype[np.generic]:
    element_type = analysis.element_types.get(name, onnx.TensorProto.FLOAT)
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type))
