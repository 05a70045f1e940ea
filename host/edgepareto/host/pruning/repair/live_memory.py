"""How many calibration samples fit the memory, since a pass in pieces holds what later pieces read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.normal_form.shape_inference import Shape, elements_per_sample, infer_shapes
from edgepareto.host.pruning.repair.segments import Segment
from numpy.typing import NDArray

__all__ = ["IMAGES_PER_CHUNK", "affordable_images", "fixed_batch"]

IMAGES_PER_CHUNK = 32
LARGEST_LIVE_BYTES = 2 << 30  # of all tensors that wait for a later piece; 512 images of 28 x 28 need a tenth of it


def affordable_images(
    analysis: Analysis, segments: Sequence[Segment], samples: Mapping[str, NDArray[np.generic]]
) -> int:
    """So many of these samples, at least one chunk, that the dense activations fit LARGEST_LIVE_BYTES.

    Whole batches where the model's batch is fixed.
    """
    images = max(len(values) for values in samples.values())
    shapes = _shapes(analysis, samples)
    live: set[str] = set()
    largest = 1
    for segment in segments:
        live.update(segment.inputs)
        live.update(segment.outputs)
        largest = max(largest, sum(_bytes_per_image(shapes.get(name, ())) for name in live))
        live.difference_update(segment.drop)
    batch = max(fixed_batch(value.shape) or 1 for value in analysis.inputs)
    count = min(images, max(IMAGES_PER_CHUNK, batch, LARGEST_LIVE_BYTES // largest))
    return count - count % batch


def fixed_batch(shape: Sequence[int | str | None]) -> int | None:
    """Of an input: how many samples one run takes; None: any number."""
    return shape[0] if shape and isinstance(shape[0], int) else None


def _shapes(analysis: Analysis, samples: Mapping[str, NDArray[np.generic]]) -> Mapping[str, Shape]:
    """With the samples' sizes for those that are free in the model (height, width, steps), but not for the batch's."""
    if all(isinstance(size, int) for value in analysis.inputs for size in value.shape[1:]):
        return analysis.shapes
    model = onnx.ModelProto()
    model.CopyFrom(analysis.model)
    for value in model.graph.input:
        axes = value.type.tensor_type.shape.dim
        for dimension, size in list(zip(axes, samples[value.name].shape, strict=False))[1:]:
            dimension.dim_value = size
    return infer_shapes(model)[0]


def _bytes_per_image(shape: Shape) -> int:
    return 4 * elements_per_sample(shape)
