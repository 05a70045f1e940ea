"""The oracle of exact pruning: the dense model with some channels made zero, which a cut of them must not change."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from edgepareto.host.pruning import Analysis
from edgepareto.host.pruning.cuts import BlockCut, IndexCut
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["outputs_of", "relative_difference", "silenced"]

Feeds = dict[str, NDArray[np.generic]]


def silenced(analysis: Analysis, kept: NDArray[np.bool_], *, readers_too: bool = False) -> onnx.ModelProto:
    """The dense model in which every channel that `kept` lacks gives zero: the arrays that make it are zero there.

    readers_too: those that read it as well, for networks that turn a zero into something else (Sigmoid).
    """
    arrays = {name: value.copy() for name, value in analysis.constants.items()}
    made_by = {layer.weight: layer.output_axis for layer in analysis.graph.layers}
    for cut in analysis.graph.cuts:
        reads = not isinstance(cut, IndexCut) and cut.axis != made_by.get(cut.tensor, cut.axis)
        if isinstance(cut, IndexCut) or (reads and not readers_too):
            continue
        blocks = cut.labels if isinstance(cut, BlockCut) else [cut.labels]
        for part, labels in zip(np.split(arrays[cut.tensor], len(blocks)), blocks, strict=True):
            gone = [slice(None)] * part.ndim
            gone[cut.axis] = ~kept[labels]
            if part.dtype.kind == "f":
                part[tuple(gone)] = 0
    model = onnx.ModelProto()
    model.CopyFrom(analysis.model)
    del model.graph.initializer[:]
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    return model


def outputs_of(model: onnx.ModelProto, feeds: Feeds) -> list[NDArray[np.float32]]:
    """One thread, all graph optimisations; warnings about old operator forms are not shown."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, feeds)]


def relative_difference(seen: list[NDArray[np.float32]], wanted: list[NDArray[np.float32]]) -> float:
    """The largest over all outputs of the largest difference, as a share of the output's largest value."""
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) for a, b in zip(seen, wanted, strict=True))
