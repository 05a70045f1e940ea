"""What an algorithm sees of a search space: one axis per gene, genomes as vectors of indices.

`SearchSpace` is a space of any integer and categorical genes; `domain.PruningSpace` is the one of pruned networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from edgepareto.host.domain import Axis

__all__ = ["CategoricalGene", "IntegerGene", "SearchSpace", "Space", "Value"]

Value: TypeAlias = "int | str"
Values: TypeAlias = tuple[Value, ...]
G = TypeVar("G")


class Space(Protocol[G]):
    """What `Search` needs to know. Indices: one integer per axis; `canonical`: the one form of all that mean the same
    genome."""

    @property
    def axes(self) -> tuple[Axis, ...]: ...
    def encode(self, genome: G) -> tuple[int, ...]: ...
    def decode(self, indices: Sequence[int]) -> G: ...
    def canonical(self, indices: Sequence[int]) -> tuple[int, ...]: ...
    def seeds(self) -> tuple[G, ...]: ...
    def probes(self) -> tuple[G, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerGene:
    """values: ascending. is_size: see `Axis`; widths and depths are sizes, kernel sizes and strides need not be."""

    name: str
    values: tuple[int, ...]
    is_size: bool = False

    def __post_init__(self) -> None:
        if not all(isinstance(value, int) for value in self.values):
            raise ValueError(
                f"gene {self.name}: values must be integers, got {self.values}; CategoricalGene takes words"
            )
        if not self.values or list(self.values) != sorted(set(self.values)):
            raise ValueError(f"gene {self.name}: values must be ascending and at least one, got {self.values}")
        if self.is_size and (self.values[0] < 0 or self.values[-1] <= 0):
            raise ValueError(f"gene {self.name}: a size must not be below 0, got {self.values}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalGene:
    """choices: in any order, which means nothing."""

    name: str
    choices: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.choices or len(set(self.choices)) != len(self.choices):
            raise ValueError(f"gene {self.name}: choices must be different and at least one, got {self.choices}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Any integer and categorical genes; a genome is one value of each, in order.

    start: genomes to begin with, as the user knows good or telling ones; may be empty.
    """

    genes: tuple[IntegerGene | CategoricalGene, ...]
    start: tuple[Values, ...] = ()

    def __post_init__(self) -> None:
        if not self.genes:
            raise ValueError("a search space needs at least one gene")
        names = [gene.name for gene in self.genes]
        if len(set(names)) < len(names):
            raise ValueError(f"genes must have different names, got {', '.join(names)}")
        for genome in self.start:
            self.encode(genome)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(
            Axis(size=len(gene.choices))
            if isinstance(gene, CategoricalGene)
            else Axis(size=len(gene.values), values=tuple(map(float, gene.values)), is_size=gene.is_size)
            for gene in self.genes
        )

    def encode(self, genome: Values) -> tuple[int, ...]:
        """Raises ValueError for a value that its gene does not have."""
        if len(genome) != len(self.genes):
            raise ValueError(f"a genome of this space has {len(self.genes)} values, got {len(genome)}: {genome}")
        indices = []
        for gene, value in zip(self.genes, genome, strict=True):
            allowed = _allowed(gene)
            if value not in allowed:
                raise ValueError(f"gene {gene.name}: {value!r} is none of {', '.join(map(str, allowed))}")
            indices.append(allowed.index(value))
        return tuple(indices)

    def decode(self, indices: Sequence[int]) -> Values:
        """Total: indices past either end mean that end."""
        return tuple(
            allowed[max(0, min(int(index), len(allowed) - 1))]
            for allowed, index in zip(map(_allowed, self.genes), indices, strict=True)
        )

    def canonical(self, indices: Sequence[int]) -> tuple[int, ...]:
        return self.encode(self.decode(indices))

    def seeds(self) -> tuple[Values, ...]:
        return tuple(dict.fromkeys(self.start))

    def probes(self) -> tuple[Values, ...]:
        return ()


def _allowed(gene: IntegerGene | CategoricalGene) -> Values:
    return gene.choices if isinstance(gene, CategoricalGene) else gene.values
