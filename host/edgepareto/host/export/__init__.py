"""Model files in and out: reading with checks, writing whole or not at all, what a board compares with, the cards."""

from edgepareto.host.export.arrays import expected_outputs, write_arrays, write_sample_inputs
from edgepareto.host.export.card import ExportedModel, export_candidate
from edgepareto.host.export.choice import PICKS, pick
from edgepareto.host.export.input_shapes import (
    InputTensor,
    class_count,
    fix_every_size,
    fix_input_shapes,
    input_tensors,
    require_known_shapes,
)
from edgepareto.host.export.onnx_file import (
    must_not_overwrite,
    output_must_be_writable,
    read_model,
    require_sound,
    sha256_of,
    weight_files,
    write_model,
    write_model_bytes,
    write_whole,
)

__all__ = [
    "PICKS",
    "ExportedModel",
    "InputTensor",
    "class_count",
    "expected_outputs",
    "export_candidate",
    "fix_every_size",
    "fix_input_shapes",
    "input_tensors",
    "must_not_overwrite",
    "output_must_be_writable",
    "pick",
    "read_model",
    "require_known_shapes",
    "require_sound",
    "sha256_of",
    "weight_files",
    "write_arrays",
    "write_model",
    "write_model_bytes",
    "write_sample_inputs",
    "write_whole",
]
