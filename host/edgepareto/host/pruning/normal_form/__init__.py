"""One form for every exporter's graph: constants and sizes written down, one owner per tensor, shapes of everything."""

from edgepareto.host.pruning.normal_form.attributes import (
    float_attribute,
    int_attribute,
    ints_attribute,
    text_attribute,
)
from edgepareto.host.pruning.normal_form.channel_shuffle import rewrite_shuffles
from edgepareto.host.pruning.normal_form.normalise import default_opset, normalise
from edgepareto.host.pruning.normal_form.shape_inference import (
    Shape,
    dimension_size,
    elements_per_sample,
    infer_shapes,
    size_factors,
)

__all__ = [
    "Shape",
    "default_opset",
    "dimension_size",
    "elements_per_sample",
    "float_attribute",
    "infer_shapes",
    "int_attribute",
    "ints_attribute",
    "normalise",
    "rewrite_shuffles",
    "size_factors",
    "text_attribute",
]
