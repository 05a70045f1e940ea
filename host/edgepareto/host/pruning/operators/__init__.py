"""How each ONNX operator carries channel labels: one small function per operator, found by its name.

A rule raises Untracked where it cannot follow a case; the walk then freezes what the node reads, with that reason.
A new operator is a function in one of these modules and a line in its RULES.
"""

from collections.abc import Callable, Mapping

import onnx
from edgepareto.host.pruning.graph_walk import GraphWalk
from edgepareto.host.pruning.operators import elementwise, shape, weighted

__all__ = ["RULES", "Rule"]

Rule = Callable[[onnx.NodeProto, GraphWalk], None]
RULES: Mapping[str, Rule] = {**elementwise.RULES, **shape.RULES, **weighted.RULES}
