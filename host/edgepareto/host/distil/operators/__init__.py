"""One function per ONNX operator on torch tensors, by what they do; importing this room fills the registry.

A function may rely on the model being valid ONNX, and on nothing else: what it cannot do as ONNX says it refuses.
"""

from edgepareto.host.distil.operators import (
    activation,
    convolution,
    elementwise,
    indexing,
    matrix,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    shape,
)

__all__ = [
    "activation",
    "convolution",
    "elementwise",
    "indexing",
    "matrix",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resize",
    "shape",
]
