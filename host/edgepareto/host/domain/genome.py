"""What a search may vary: a gene per channel group and per branch, how the model is run; a genome fixes them all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from edgepareto.host.domain.axis import Axis
from edgepareto.host.domain.deployment import AS_SET, Deployment, DeploymentGenes

__all__ = ["BranchGene", "ChannelGene", "Genome", "PruningSpace", "allowed_widths"]

ONLY_AS_SET = DeploymentGenes()
LADDER_RUNGS = 20
LADDER_LOWEST_RATIO = 0.2
PROBED_RATIO, PROBED_CUT = 0.5, 0.25  # the rung that a search probes single genes on, and what one group is cut to
ABSENT, PRESENT = 0, 1  # the indices of a branch: the larger, the more network, as with widths


@dataclass(frozen=True, slots=True, kw_only=True)
class Genome:
    """widths: kept channels per group, in the order of the space's genes. dropped: names of the branches that are left
    out as a whole, in alphabetical order."""

    widths: tuple[int, ...]
    deployment: Deployment = AS_SET
    dropped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.dropped == tuple(sorted(set(self.dropped))), self.dropped

    def is_pruned_like(self, other: Genome) -> bool:
        """The same network, however it is run."""
        return (self.widths, self.dropped) == (other.widths, other.dropped)


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
class BranchGene:
    """A branch that may be left out. inside: places of the channel genes that vanish with it; branches: of the branch
    genes that do, however deep they lie in it."""

    name: str
    inside: tuple[int, ...] = ()
    branches: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningSpace:
    """deployments: what of it has a single choice is no gene.

    An encoded genome has one index per width, then one per branch, then one per part of the deployment that varies.
    """

    genes: tuple[ChannelGene, ...]
    deployments: DeploymentGenes = ONLY_AS_SET
    branches: tuple[BranchGene, ...] = ()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Of each index of an encoded genome. Widths by the part of the channels that they keep."""
        widths = (
            Axis(size=len(gene.widths), values=tuple(w / gene.channels for w in gene.widths), is_size=True)
            for gene in self.genes
        )
        branches = (Axis(size=PRESENT + 1, values=(ABSENT, PRESENT), is_size=True) for _ in self.branches)
        offered = self.deployments
        ways = (
            Axis(size=len(offered.formats)),
            Axis(
                size=len(offered.threads),
                values=tuple(math.log2(max(count, 1)) for count in offered.threads),
                is_free=True,
            ),
            Axis(size=len(offered.clock_modes), is_free=True),
        )
        return (*widths, *branches, *(ways[place] for place in self._varied))

    def dense(self) -> Genome:
        """Unpruned, run as the device usually is."""
        return self._run_as_usual(gene.channels for gene in self.genes)

    def uniform(self, ratio: float) -> Genome:
        """Every group at the allowed width nearest to `ratio` of its channels."""
        return self._run_as_usual(_nearest(gene, ratio) for gene in self.genes)

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

    def probes(self) -> tuple[Genome, ...]:
        """What tells each gene's own worth: the half-width rung with one group in turn cut to a quarter, and with one
        branch in turn left out; none that is that rung itself, and no duplicates."""
        rung = self.uniform(PROBED_RATIO)
        cut = [
            replace(rung, widths=(*rung.widths[:place], _nearest(gene, PROBED_CUT), *rung.widths[place + 1 :]))
            for place, gene in enumerate(self.genes)
        ]
        shorter = [self.without(rung, branch.name) for branch in self.branches]
        return tuple(probe for probe in dict.fromkeys((*cut, *shorter)) if probe != rung)

    def without(self, genome: Genome, *names: str) -> Genome:
        """The genome with these branches left out, and what vanishes with them."""
        return self.decode(self.encode(replace(genome, dropped=tuple(sorted({*genome.dropped, *names})))))

    def nearest(self, genome: Genome) -> Genome:
        """The one of this space that is most like a genome of another device's: allowed widths, known branches, and run
        as usual where it is not offered."""
        way, offered = genome.deployment, self.deployments
        is_offered = (
            way.format in offered.formats and way.threads in offered.threads and way.clock_mode in offered.clock_modes
        )
        known = {branch.name for branch in self.branches}
        found = Genome(
            widths=tuple(
                _nearest(gene, width / gene.channels) for gene, width in zip(self.genes, genome.widths, strict=True)
            ),
            deployment=genome.deployment if is_offered else offered.usual,
            dropped=tuple(name for name in genome.dropped if name in known),
        )
        return self.decode(self.encode(found))

    def canonical(self, indices: Sequence[int]) -> tuple[int, ...]:
        """The one vector of all that mean the same network. Beyond either end is that end; what lies in a branch that
        is left out is at its smallest: its groups at their smallest width, its own branches left out as well."""
        assert len(indices) == len(self._sizes), (len(indices), len(self._sizes))
        found = [max(0, min(int(i), size - 1)) for i, size in zip(indices, self._sizes, strict=True)]
        first = len(self.genes)
        for place, branch in enumerate(self.branches, start=first):
            if found[place] == ABSENT:
                for vanished in (*branch.inside, *(first + inner for inner in branch.branches)):
                    found[vanished] = 0
        return tuple(found)

    def decode(self, indices: Sequence[int]) -> Genome:
        """Total: any vector of integers, one per gene, gives a genome, the same one as its canonical form."""
        found = self.canonical(indices)
        widths, rest = found[: len(self.genes)], found[len(self.genes) :]
        present, ways = rest[: len(self.branches)], rest[len(self.branches) :]
        chosen = dict(zip(self._varied, ways, strict=True))
        return Genome(
            widths=tuple(gene.widths[i] for i, gene in zip(widths, self.genes, strict=True)),
            deployment=self.deployments.at((chosen.get(0, 0), chosen.get(1, 0), chosen.get(2, 0))),
            dropped=tuple(sorted(b.name for i, b in zip(present, self.branches, strict=True) if i == ABSENT)),
        )

    def encode(self, genome: Genome) -> tuple[int, ...]:
        """The inverse of `decode`, canonical for any genome; ValueError for what is not allowed."""
        unknown = set(genome.dropped) - {branch.name for branch in self.branches}
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: no branch of this space")
        deployment = self.deployments.indices(genome.deployment)
        return self.canonical(
            (
                *(g.widths.index(w) for g, w in zip(self.genes, genome.widths, strict=True)),
                *(ABSENT if branch.name in genome.dropped else PRESENT for branch in self.branches),
                *(deployment[place] for place in self._varied),
            )
        )

    @property
    def _sizes(self) -> tuple[int, ...]:
        """As in `axes`, which is much to build for each of thousands of genomes."""
        offered = self.deployments.sizes
        ways = [offered[place] for place in self._varied]
        return (*[len(gene.widths) for gene in self.genes], *[PRESENT + 1] * len(self.branches), *ways)

    @property
    def _varied(self) -> tuple[int, ...]:
        """Places in `DeploymentGenes.sizes`."""
        return tuple(place for place, size in enumerate(self.deployments.sizes) if size > 1)

    def _run_as_usual(self, widths: Iterable[int]) -> Genome:
        return Genome(widths=tuple(widths), deployment=self.deployments.usual)


def _nearest(gene: ChannelGene, ratio: float) -> int:
    """The allowed width nearest to `ratio` of its channels, the smaller one of two."""
    return min(gene.widths, key=lambda width: (abs(width - ratio * gene.channels), width))


def allowed_widths(widths: Sequence[int], step: int) -> tuple[int, ...]:
    """The multiples of `step` among widths (ascending), and the last, original one."""
    return (*(width for width in widths[:-1] if width % step == 0), widths[-1])
