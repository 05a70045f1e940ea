"""Branches that may be left out as a whole: what a network needs for one side of an Add alone.

The graph without a branch is the graph in which the branch puts out zeros, exactly. A gate (Mul) cannot be left out in
that sense, and what broadcasts, a constant or a side without a layer is no branch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from edgepareto.host.pruning.cuts import AttributeCount, IndexCut
from edgepareto.host.pruning.dependency_graph import DependencyGraph
from edgepareto.host.pruning.equal_blocks import Cells
from edgepareto.host.pruning.model_size import count_parameters
from edgepareto.host.pruning.normal_form.graph_names import DEFAULT_DOMAINS
from edgepareto.host.pruning.normal_form.shape_inference import Shape
from edgepareto.host.pruning.wiring import Wiring
from numpy.typing import NDArray

__all__ = ["Branch", "find_branches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One side of the Add `node`, whose name it has, and all that nothing else needs. layers: those inside.

    kept: the tensor that the Add's readers get instead of the sum; output: the one that goes. macs, parameters: what
    the unpruned model loses. groups: places of the channel groups that vanish with it; branches: of the branches.
    """

    name: str
    node: int
    kept: str
    output: str
    layers: tuple[str, ...]
    macs: int
    parameters: int
    share_of_macs: float
    groups: tuple[int, ...]
    branches: tuple[int, ...]


def find_branches(
    model: onnx.ModelProto,
    wiring: Wiring,
    graph: DependencyGraph,
    group_cells: Sequence[Cells],
    layer_macs: Sequence[int],
    shapes: Mapping[str, Shape],
    constants: Mapping[str, NDArray[np.generic]],
) -> tuple[Branch, ...]:
    """In graph order. Without any set of them the network still reads each of its inputs, and each of its outputs still
    depends on a layer if it did; of two branches that meet, the one with more multiply-accumulates may go, never both,
    and rather one whose own layers make all that it adds.

    layer_macs: of the base model, per layer of the graph.
    """
    macs_of = _work(graph, layer_macs)
    read = {name for name in wiring.inputs if wiring.is_read(name, (), {})}
    worked_out = wiring.outputs_behind(macs_of, (), {})
    sides: dict[int, tuple[str, str]] = {}  # what is kept, what goes
    for number in range(len(model.graph.node)):
        for kept, output in _sides(model.graph, number, wiring, macs_of, shapes):
            bypasses = {other: names[0] for other, names in sides.items()} | {number: kept}
            unneeded = wiring.unneeded(bypasses)
            if all(wiring.is_read(name, unneeded, bypasses) for name in read) and (
                worked_out == wiring.outputs_behind(macs_of, unneeded, bypasses)
            ):
                sides[number] = kept, output
                break
    gone = {number: wiring.unneeded({number: kept}) for number, (kept, _) in sides.items()}
    total = sum(macs_of.values())
    return tuple(
        Branch(
            name=model.graph.node[number].name,
            node=number,
            kept=kept,
            output=output,
            layers=tuple(model.graph.node[inner].name for inner in sorted(gone[number] & macs_of.keys())),
            macs=(macs := sum(macs_of[inner] for inner in gone[number] & macs_of.keys())),
            parameters=_parameters(wiring, constants, gone[number]),
            share_of_macs=macs / total if total else 0.0,
            groups=_groups_inside(wiring, graph, group_cells, gone[number]),
            branches=tuple(place for place, inner in enumerate(sides) if inner in gone[number]),
        )
        for number, (kept, output) in sides.items()
    )


def _work(graph: DependencyGraph, layer_macs: Sequence[int]) -> dict[int, int]:
    """The multiply-accumulates of each node that has some."""
    work: dict[int, int] = {}
    for layer, macs in zip(graph.layers, layer_macs, strict=True):
        work[layer.node] = work.get(layer.node, 0) + macs
    for product in graph.products:
        work[product.node] = work.get(product.node, 0) + product.macs
    return work


def _sides(
    graph: onnx.GraphProto,
    number: int,
    wiring: Wiring,
    macs_of: Mapping[int, int],
    shapes: Mapping[str, Shape],
) -> list[tuple[str, str]]:
    """What may be kept of this node's two inputs, and what may go then. First what does not carry the stream on, the
    most work first, of equals the first."""
    node = graph.node[number]
    if node.op_type not in ("Add", "Sum") or node.domain not in DEFAULT_DOMAINS or len(set(node.input)) != 2:
        return []
    first, second = node.input
    shape = shapes.get(node.output[0])
    if len(node.input) != 2 or shape is None or not shape == shapes.get(first) == shapes.get(second):
        return []
    if not all(wiring.is_signal(name) for name in node.input):
        return []
    found = []
    for output, kept in ((first, second), (second, first)):
        if wiring.readers[output] != (number,) or output in wiring.outputs:
            continue
        gone = wiring.unneeded({number: kept})
        working = gone & macs_of.keys()
        if working:
            passes = _lets_through(output, graph, wiring, gone, working)
            found.append((passes, -sum(macs_of[inner] for inner in working), kept, output))
    return [(kept, output) for _, _, kept, output in sorted(found, key=lambda side: side[:2])]


def _lets_through(
    output: str, graph: onnx.GraphProto, wiring: Wiring, gone: Collection[int], working: Collection[int]
) -> bool:
    """Something from outside reaches the branch's output past all of its layers: it carries the stream on."""
    waiting, seen = [output], {output}
    while waiting:
        name = waiting.pop()
        maker = wiring.maker.get(name)
        if maker not in gone:
            return True
        assert maker is not None
        if maker in working or graph.node[maker].op_type == "Shape":
            continue
        before = {read for read in wiring.reads[maker] if wiring.is_signal(read)} - seen
        seen |= before
        waiting.extend(sorted(before))
    return False


def _parameters(wiring: Wiring, constants: Mapping[str, NDArray[np.generic]], gone: Collection[int]) -> int:
    return count_parameters({name: value for name, value in constants.items() if not wiring.is_read(name, gone, {})})


def _groups_inside(
    wiring: Wiring, graph: DependencyGraph, group_cells: Sequence[Cells], gone: Collection[int]
) -> tuple[int, ...]:
    """Those whose width changes nothing in what is left."""
    matters = np.zeros(len(graph.classes), dtype=bool)
    for cut in graph.cuts:
        if wiring.is_read(cut.tensor, gone, {}):
            matters[cut.labels] = True
            if isinstance(cut, IndexCut):
                matters[cut.source] = True
    for count in graph.counts:
        if count.node not in gone if isinstance(count, AttributeCount) else wiring.is_read(count.tensor, gone, {}):
            matters[count.labels] = True
            if count.behind is not None:
                matters[count.behind] = True
    return tuple(
        place for place, cells in enumerate(group_cells) if not any(matters[classes].any() for classes in cells.classes)
    )
