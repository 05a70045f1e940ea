"""What a search may vary: one gene per channel group, how the model is run, and the genome that fixes them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import zip_longest

from edgepareto.host.domain.deployment import AS_SET, Deployment, DeploymentGenes

__all__ = ["ChannelGene", "GeneKind", "Genome", "SearchSpace", "allowed_widths"]

ONLY_AS_SET = DeploymentGenes()
LADDER_RUNGS = 20
LADDER_LOWEST_RATIO = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Genome:
    """widths: kept channels per group, in the order of the search space's genes."""

    widths: tuple[int, ...]
    deployment: Deployment = AS_SET


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGene:
    """One channel group: its name, its channels in the base model and the widths it may be cut to, ascending."""

    name: str
    channels: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        assert self.widths == tuple(sorted(set(self.widths))), self.widths
        assert self.widths[-1] == self.channels, "the original width stays allowed"


class GeneKind(str, Enum):
    """What an index of an encoded genome means: widths and threads are ordered, formats and clock modes are not; the
    first two alone change the file."""

    WIDTH = "width"
    FORMAT = "format"
    THREADS = "threads"
    CLOCK_MODE = "clock mode"

    @property
    def is_ordered(self) -> bool:
        return self in (GeneKind.WIDTH, GeneKind.THREADS)

    @property
    def changes_the_file(self) -> bool:
        return self in (GeneKind.WIDTH, GeneKind.FORMAT)


DEPLOYMENT_KINDS = (GeneKind.FORMAT, GeneKind.THREADS, GeneKind.CLOCK_MODE)  # in the order of DeploymentGenes


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """deployments: what of it has a single choice is no gene."""

    genes: tuple[ChannelGene, ...]
    deployments: DeploymentGenes = ONLY_AS_SET

    @property
    def kinds(self) -> tuple[GeneKind, ...]:
        """Of each index of an encoded genome."""
        return (*(GeneKind.WIDTH for _ in self.genes), *(DEPLOYMENT_KINDS[place] for place in self._varied))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many choices each index of an encoded genome has."""
        sizes = self.deployments.sizes
        return (*(len(gene.widths) for gene in self.genes), *(sizes[place] for place in self._varied))

    def dense(self) -> Genome:
        """Unpruned, run as the device usually is."""
        return self._run_as_usual(gene.channels for gene in self.genes)

    def uniform(self, ratio: float) -> Genome:
        """Every group at the allowed width nearest to `ratio` of its channels."""
        return self._run_as_usual(min(g.widths, key=lambda w: (abs(w - ratio * g.channels), w)) for g in self.genes)

    def seeds(self) -> tuple[Genome, ...]:
        """What a search begins with: the dense model in every format, on the usual threads and on the most, and in turn
        with these the uniform ladder, whose rungs take turns at all of these ways. One way to run it: the ladder."""
        offered = self.deployments
        threads = dict.fromkeys((offered.usual_threads, offered.threads[-1]))
        ways = [
            Deployment(runtime=runtime, precision=precision, threads=count, clock_mode=mode)
            for mode in offered.clock_modes
            for count in threads
            for runtime, precision in offered.formats
        ]
        dense, *rungs = self.ladder()
        turns = [replace(rung, deployment=ways[turn % len(ways)]) for turn, rung in enumerate(rungs)]
        others = [replace(dense, deployment=way) for way in ways[1:]]
        mixed = (seed for pair in zip_longest(turns, others) for seed in pair if seed is not None)
        return tuple(dict.fromkeys((replace(dense, deployment=ways[0]), *mixed)))

    def ladder(self, rungs: int = LADDER_RUNGS, lowest_ratio: float = LADDER_LOWEST_RATIO) -> tuple[Genome, ...]:
        """The uniform ladder: one keep ratio for all groups, evenly from 1 to `lowest_ratio`, duplicates dropped."""
        ratios = [1 - (1 - lowest_ratio) * rung / (rungs - 1) for rung in range(rungs)]
        return tuple(dict.fromkeys(self.uniform(ratio) for ratio in ratios))

    def decode(self, indices: Sequence[int]) -> Genome:
        """Total: any vector of integers, one per gene, gives a genome; indices past either end mean that end."""
        assert len(indices) == len(self.sizes)
        clipped = [max(0, min(int(i), size - 1)) for i, size in zip(indices, self.sizes, strict=True)]
        chosen = dict(zip(self._varied, clipped[len(self.genes) :], strict=True))
        return Genome(
            widths=tuple(g.widths[i] for i, g in zip(clipped, self.genes, strict=False)),
            deployment=self.deployments.at((chosen.get(0, 0), chosen.get(1, 0), chosen.get(2, 0))),
        )

    def encode(self, genome: Genome) -> tuple[int, ...]:
        """The index of each width, then of each part of the deployment that varies. The inverse of `decode`; ValueError
        for what is not allowed."""
        deployment = self.deployments.indices(genome.deployment)
        return (
            *(g.widths.index(w) for g, w in zip(self.genes, genome.widths, strict=True)),
            *(deployment[place] for place in self._varied),
        )

    @property
    def _varied(self) -> tuple[int, ...]:
        """Places in DEPLOYMENT_KINDS."""
        return tuple(place for place, size in enumerate(self.deployments.sizes) if size > 1)

    def _run_as_usual(self, widths: Iterable[int]) -> Genome:
        return Genome(widths=tuple(widths), deployment=self.deployments.usual)


def allowed_widths(widths: Sequence[int], step: int) -> tuple[int, ...]:
    """The multiples of `step` among widths (ascending), and the last, original one."""
    return (*(width for width in widths[:-1] if width % step == 0), widths[-1])
