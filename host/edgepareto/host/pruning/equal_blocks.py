"""Which channels must lose equally many: the blocks of grouped convolutions, as genes that can be set freely.

"Each of these blocks keeps as many as the others" couples channels, not positions: any channel of a block may go. The
channels are divided into cells that no block cuts through; cells that share such a promise are one gene, and for each
of its values a table says how many channels every cell keeps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from edgepareto.host.pruning.channel_labels import Classes, Labels
from numpy.typing import NDArray

__all__ = ["Cells", "balanced_cells"]


MOST_LEVELS = 32  # of a gene whose cells differ in size; each costs a small integer program

Family = tuple[tuple[int, ...], ...]  # blocks that keep equally many, each a list of cells, as often as it holds them


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The channels of one gene. classes: per cell, its channel classes.

    widths: ascending, the last one the original. counts: (widths, cells), how many channels each cell keeps: at least
    one, with all promises of equality kept. Each row adds up to its width.
    """

    classes: tuple[Labels, ...]
    widths: tuple[int, ...]
    counts: NDArray[np.int64]

    def of_width(self, width: int) -> NDArray[np.int64]:
        """(cells,) kept channels."""
        row = bisect_left(self.widths, width)
        assert row < len(self.widths), f"{width} is above {self.widths[-1]}"
        assert self.widths[row] == width, f"{width} is none of {self.widths}"
        return np.asarray(self.counts[row])


def balanced_cells(classes: Classes) -> list[Cells]:
    """Every class in exactly one cell, the genes in the order of their first class."""
    found: dict[tuple[tuple[int, ...], str | None], list[int]] = {}
    for index, blocks in enumerate(classes.blocks):
        found.setdefault((blocks, classes.frozen.get(index)), []).append(index)
    cells = [np.array(cell, dtype=np.int64) for cell in found.values()]
    inside: dict[int, list[int]] = {}  # block -> its cells
    for number, (blocks, _) in enumerate(found):
        for block in blocks:
            inside.setdefault(block, []).append(number)
    families = [tuple(tuple(inside[block]) for block in family) for family in classes.balanced]
    genes = []
    for numbers in _connected(len(cells), families):
        place = {number: position for position, number in enumerate(numbers)}
        own = tuple(
            tuple(tuple(place[n] for n in block) for block in family) for family in families if family[0][0] in place
        )
        of_gene = tuple(cells[number] for number in numbers)
        counts = _counts(tuple(len(cell) for cell in of_gene), own)
        genes.append(Cells(classes=of_gene, widths=tuple(counts.sum(axis=1).tolist()), counts=counts))
    return genes


def _connected(cells: int, families: Sequence[Family]) -> list[list[int]]:
    """Cells that share a family, directly or through others; each set ascending, the sets by their first cell."""
    root = list(range(cells))

    def find(cell: int) -> int:
        while root[cell] != cell:
            root[cell] = root[root[cell]]
            cell = root[cell]
        return cell

    for family in families:
        members = sorted({find(cell) for block in family for cell in block})
        for member in members[1:]:
            low, high = sorted((find(members[0]), find(member)))
            root[high] = low
    sets: dict[int, list[int]] = {}
    for cell in range(cells):
        sets.setdefault(find(cell), []).append(cell)
    return list(sets.values())


@cache  # a network repeats its blocks
def _counts(sizes: tuple[int, ...], families: tuple[Family, ...]) -> NDArray[np.int64]:
    """One row per width; sizes: channels of each cell."""
    if len(set(sizes)) == 1 and all(len({len(block) for block in family}) == 1 for family in families):
        return np.repeat(np.arange(1, sizes[0] + 1, dtype=np.int64)[:, None], len(sizes), axis=1)
    largest = max(sum(sizes[cell] for cell in block) for family in families for block in family)
    levels = min(largest, MOST_LEVELS)
    rows = {sum(sizes): np.array(sizes, dtype=np.int64)}
    for level in range(1, levels):
        row = _nearest(np.array(sizes, dtype=np.float64), level / levels, families)
        if row is not None:
            rows.setdefault(int(row.sum()), row)
    return np.stack([rows[width] for width in sorted(rows)])


def _nearest(sizes: NDArray[np.float64], share: float, families: Sequence[Family]) -> NDArray[np.int64] | None:
    """Whole numbers of 1 to sizes, nearest to share x sizes in sum, with which the blocks of each family are equal.

    None: there are none. A mixed integer program: minimise sum(d) with d >= |k - share x sizes|.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    cells = len(sizes)
    balance = []
    for family in families:
        for block in family[1:]:
            row = np.zeros(2 * cells)
            np.add.at(row, list(block), 1.0)
            np.add.at(row, list(family[0]), -1.0)
            balance.append(row)
    unit = np.eye(cells)
    constraints = [
        LinearConstraint(np.array(balance), 0, 0),
        LinearConstraint(np.hstack([unit, -unit]), -np.inf, share * sizes),
        LinearConstraint(np.hstack([unit, unit]), share * sizes, np.inf),
    ]
    solved = milp(
        np.repeat([0.0, 1.0], cells),
        integrality=np.repeat([1, 0], cells),
        bounds=Bounds(np.repeat([1.0, 0.0], cells), np.concatenate([sizes, sizes])),
        constraints=constraints,
    )
    return np.rint(solved.x[:cells]).astype(np.int64) if solved.success else None
