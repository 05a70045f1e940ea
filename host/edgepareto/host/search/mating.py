"""Children of a space with more than ordered genes: channels and ways to run a model are inherited apart.

Of each pair of parents pymoo's own crossover and mutation make the ordered genes. Here the unordered ones are inherited
whole from either parent, and a share of children is one parent as it is but for what changes no file (threads, clock
mode): such a child costs neither a score nor an upload.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from edgepareto.host.domain import Axis
from numpy.typing import NDArray
from pymoo.core.mating import Mating

__all__ = ["MixedMating"]

RUN_OTHERWISE_SHARE = 0.2  # of children: one parent, run in another way
REDRAW = 0.1  # chance of an unordered gene to be drawn anew
Indices: TypeAlias = NDArray[np.int64]
Pymoo: TypeAlias = Any  # it has no types


class MixedMating(Mating):  # type: ignore[misc]
    """axes: of each index of an encoded genome."""

    def __init__(
        self, selection: Pymoo, crossover: Pymoo, mutation: Pymoo, *, axes: Sequence[Axis], **options: Pymoo
    ) -> None:
        super().__init__(selection, crossover, mutation, **options)
        self._sizes = np.array([axis.size for axis in axes])
        self._unordered = np.flatnonzero([axis.values is None for axis in axes])
        self._of_the_device = np.flatnonzero([axis.is_free for axis in axes])

    def _do(
        self, problem: Pymoo, pop: Pymoo, n_offsprings: int, parents: Pymoo = None, random_state: Pymoo = None,
        **known: Pymoo,
    ) -> Pymoo:  # fmt: skip
        matings = math.ceil(n_offsprings / self.crossover.n_offsprings)
        pairs = self.selection(
            problem, pop, matings, n_parents=self.crossover.n_parents, random_state=random_state, **known
        )
        children = super()._do(problem, pop, n_offsprings, parents=pairs, random_state=random_state, **known)
        first, second = (np.array([pair[side].X for pair in pairs], dtype=np.int64) for side in (0, 1))
        own, other = np.concatenate([first, second]), np.concatenate([second, first])  # as pymoo lays children out
        mixed = self._inherit(children.get("X").astype(np.int64), own, other, random_state)
        children.set("X", self._run_otherwise(mixed, own, random_state))
        return children

    def _inherit(self, children: Indices, own: Indices, other: Indices, rng: np.random.Generator) -> Indices:
        """The unordered genes from either parent, now and then anew. All: (n_children, n_genes)."""
        columns = self._unordered
        shape = (len(children), len(columns))
        found = np.where(rng.random(shape) < 0.5, own[:, columns], other[:, columns])
        drawn = rng.integers(0, self._sizes[columns], shape)
        mixed: Indices = children.copy()
        mixed[:, columns] = np.where(rng.random(shape) < REDRAW, drawn, found)
        return mixed

    def _run_otherwise(self, children: Indices, own: Indices, rng: np.random.Generator) -> Indices:
        columns = self._of_the_device
        if not len(columns):
            return children
        chosen = rng.random(len(children)) < RUN_OTHERWISE_SHARE
        found: Indices = children.copy()
        found[chosen] = own[chosen]
        found[np.ix_(np.flatnonzero(chosen), columns)] = rng.integers(
            0, self._sizes[columns], (chosen.sum(), len(columns))
        )
        return found
