"""What a search may vary: one gene per channel group, and the genome that fixes them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ChannelGene", "Genome", "SearchSpace", "allowed_widths"]

LADDER_RUNGS = 20
LADDER_LOWEST_RATIO = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Genome:
    """Kept channels per group, in the order of the search space's genes."""

    widths: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGene:
    """One channel group: its name, its channels in the base model and the widths it may be cut to, ascending."""

    name: str
    channels: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        assert self.widths == tuple(sorted(set(self.widths))), self.widths
        assert self.widths[-1] == self.channels, "the original width stays allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    genes: tuple[ChannelGene, ...]

    def dense(self) -> Genome:
        return Genome(widths=tuple(gene.channels for gene in self.genes))

    def uniform(self, ratio: float) -> Genome:
        """Every group at the allowed width nearest to `ratio` of its channels."""
        return Genome(widths=tuple(min(g.widths, key=lambda w: (abs(w - ratio * g.channels), w)) for g in self.genes))

    def ladder(self, rungs: int = LADDER_RUNGS, lowest_ratio: float = LADDER_LOWEST_RATIO) -> tuple[Genome, ...]:
        """The uniform ladder: one keep ratio for all groups, evenly from 1 to `lowest_ratio`, duplicates dropped."""
        ratios = [1 - (1 - lowest_ratio) * rung / (rungs - 1) for rung in range(rungs)]
        return tuple(dict.fromkeys(self.uniform(ratio) for ratio in ratios))

    def decode(self, indices: Sequence[int]) -> Genome:
        """Total: any vector of integers, one per gene, gives a genome; indices past either end mean that end."""
        assert len(indices) == len(self.genes)
        clipped = [max(0, min(int(i), len(g.widths) - 1)) for i, g in zip(indices, self.genes, strict=True)]
        return Genome(widths=tuple(g.widths[i] for i, g in zip(clipped, self.genes, strict=True)))

    def encode(self, genome: Genome) -> tuple[int, ...]:
        """The index of each width. The inverse of `decode`; ValueError where a width is not allowed."""
        return tuple(g.widths.index(w) for g, w in zip(self.genes, genome.widths, strict=True))


def allowed_widths(widths: Sequence[int], step: int) -> tuple[int, ...]:
    """The multiples of `step` among widths (ascending), and the last, original one."""
    return (*(width for width in widths[:-1] if width % step == 0), widths[-1])
