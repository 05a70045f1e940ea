"""Who makes and who reads each tensor of a graph, and which nodes nothing needs once some are bypassed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx
from edgepareto.host.pruning.normal_form.graph_names import reads

__all__ = ["Bypasses", "Wiring", "wiring_of"]

Bypasses = Mapping[int, str]  # node -> the one of its inputs that its readers get instead of its output


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Nodes are numbers, in the graph's order. reads: per node, with what its bodies capture; makes: per node.

    maker: number per tensor that a node makes. readers: numbers per tensor that any node reads, ascending. inputs,
    outputs: of the graph.
    """

    reads: tuple[frozenset[str], ...]
    makes: tuple[tuple[str, ...], ...]
    maker: Mapping[str, int]
    readers: Mapping[str, tuple[int, ...]]
    inputs: frozenset[str]
    outputs: frozenset[str]

    def is_signal(self, name: str) -> bool:
        """It is no initializer."""
        return name in self.maker or name in self.inputs

    def unneeded(self, bypasses: Bypasses) -> frozenset[int]:
        """The nodes that no output depends on any more; a bypassed node that is needed is none of them."""
        needed = set(self.outputs)
        unneeded = set()
        for number in reversed(range(len(self.reads))):
            if needed.isdisjoint(self.makes[number]):
                unneeded.add(number)
            elif number in bypasses:
                needed.add(bypasses[number])
            else:
                needed |= self.reads[number]
        return frozenset(unneeded)

    def is_read(self, name: str, unneeded: Collection[int], bypasses: Bypasses) -> bool:
        """By a needed node, or as an output of the graph."""
        return name in self.outputs or any(
            reader not in unneeded and bypasses.get(reader, name) == name for reader in self.readers.get(name, ())
        )

    def outputs_behind(self, sources: Collection[int], unneeded: Collection[int], bypasses: Bypasses) -> set[str]:
        """The graph's outputs that depend on one of these nodes."""
        behind: set[str] = set()
        for number, made in enumerate(self.makes):
            read = {bypasses[number]} if number in bypasses else self.reads[number]
            if number not in unneeded and (number in sources or not behind.isdisjoint(read)):
                behind.update(made)
        return behind & self.outputs


def wiring_of(graph: onnx.GraphProto) -> Wiring:
    read = tuple(frozenset(reads(node)) for node in graph.node)
    makes = tuple(tuple(name for name in node.output if name) for node in graph.node)
    readers: dict[str, list[int]] = {}
    for number, names in enumerate(read):
        for name in sorted(names):
            readers.setdefault(name, []).append(number)
    return Wiring(
        reads=read,
        makes=makes,
        maker={name: number for number, made in enumerate(makes) for name in made},
        readers={name: tuple(numbers) for name, numbers in readers.items()},
        inputs=frozenset(value.name for value in graph.input),
        outputs=frozenset(value.name for value in graph.output),
    )
