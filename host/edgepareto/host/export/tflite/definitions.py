"""Operators that ONNX defines by simpler ones (Attention, RMSNormalization, losses), written out where we lack them."""

from __future__ import annotations

from collections.abc import Collection

import onnx
import onnx.inliner
from edgepareto.host.pruning.normal_form import normalise
from edgepareto.host.pruning.normal_form.model_outline import outline
from onnx import helper

__all__ = ["write_out_definitions"]

OWN_DOMAINS = ("", "ai.onnx")


def write_out_definitions(model: onnx.ModelProto, known: Collection[str]) -> onnx.ModelProto:
    """model: in normal form, which the returned one is in as well. known: operators that stay.

    One whose definition takes operators that are not known stays too, so that it is refused by its own name.
    """
    lacking = {node.op_type for node in model.graph.node if node.domain in OWN_DOMAINS} - set(known)
    if not lacking:
        return model
    light = outline(model)
    declared = {value.name for value in light.graph.input}
    light.graph.input.extend(  # of what is no input the inliner does not know the type
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in light.graph.initializer
        if tensor.name not in declared
    )
    try:
        light = onnx.inliner.inline_selected_functions(
            light, [("", op_type) for op_type in lacking], inline_schema_functions=True
        )
    except RuntimeError:  # of a definition that depends on a type which cannot be told
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:], copy.opset_import[:]
    copy.graph.node.extend(light.graph.node)
    copy.opset_import.extend(light.opset_import)
    written = normalise(copy)
    return written if all(node.op_type in known for node in written.graph.node) else model
