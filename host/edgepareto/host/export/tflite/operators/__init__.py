"""One function per ONNX operator, by what they do; importing this room fills the registry."""

from edgepareto.host.export.tflite.operators import (
    activation,
    convolution,
    einsum,
    elementwise,
    indexing,
    matrix,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    shape,
    subset,
    transposed_convolution,
)

__all__ = [
    "activation",
    "convolution",
    "einsum",
    "elementwise",
    "indexing",
    "matrix",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resize",
    "shape",
    "subset",
    "transposed_convolution",
]
