"""Names of inputs and outputs that every converter leaves as they are; onnx2tf writes `/x:0` as `wa/x__0`."""

from __future__ import annotations

import onnx

__all__ = ["with_plain_names"]


def with_plain_names(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """A copy whose inputs and outputs have other names, and the model's own name of each.

    An Identity stands between both, as subgraphs may read the old name; simplifiers take it out.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(copy.ir_version, 4)  # before, weights had to be inputs as well
    graph = copy.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    own: dict[str, str] = {}
    first: list[onnx.NodeProto] = []
    last: list[onnx.NodeProto] = []
    for kind, values in (("input", inputs), ("output", graph.output)):
        for number, value in enumerate(values):
            plain = f"edgepareto_{kind}_{number}"
            own[plain] = value.name
            ends = ([plain], [value.name]) if kind == "input" else ([value.name], [plain])
            (first if kind == "input" else last).append(onnx.helper.make_node("Identity", *ends, name=f"{plain}_node"))
            value.name = plain
    nodes = [*first, *graph.node, *last]
    del graph.input[:], graph.node[:]
    graph.input.extend(inputs)
    graph.node.extend(nodes)
    return copy, own
