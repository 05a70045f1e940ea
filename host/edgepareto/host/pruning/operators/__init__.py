"""How each ONNX operator carries channel labels: one small function per operator, found by its name.

A rule raises Untracked where it cannot follow a case; the walk then freezes what the node reads, with that reason.
A new operator is a function in one of these modules and a line in its RULES.
"""

from collections.abc import Callable, Mapping

import onnx
from edgepareto.host.pruning.graph_walk import GraphWalk
from edgepareto.host.pruning.operators import along_axis, einsum, elementwise, rearranging, recurrent, shape, weighted
from edgepareto.host.pruning.operators.both_directions import following_directions

__all__ = ["RULES", "Rule"]

Rule = Callable[[onnx.NodeProto, GraphWalk], None]
RULES: Mapping[str, Rule] = {
    **along_axis.RULES,
    **einsum.RULES,
    **elementwise.RULES,
    **rearranging.RULES,
    **recurrent.RULES,
    **following_directions(shape.RULES),
    **weighted.RULES,
}
