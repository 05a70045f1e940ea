"""Which single channel indices must be kept or removed together: union-find over labels.

A label names one index of one axis of one tensor. Operators carry label arrays from their inputs to their outputs, join
them where two channels meet (an Add), and freeze them where nothing may be removed. What moves together is a *class*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AxisLabels", "Classes", "LabelTable", "Labels"]

Labels = NDArray[np.int64]
AxisLabels = tuple["Labels | None", ...]  # one entry per axis; None: an axis that is never cut (batch, height, width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The table, closed. of_label: (labels,) class of each label. Classes are numbered by their first label.

    blocks: per class, the blocks it has a label in (the same ones: the same cell of a channel group); a balanced one
    as often as it has labels there. balanced: numbers of blocks that keep equally many labels. frozen: class -> why.
    """

    of_label: Labels
    blocks: tuple[tuple[int, ...], ...]
    balanced: tuple[tuple[int, ...], ...]
    frozen: dict[int, str]

    def __len__(self) -> int:
        return len(self.blocks)


class LabelTable:
    """Grows while the graph is walked. A block is a run of labels that must not vanish as a whole: it keeps one."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._blocks: list[Labels] = []
        self._balanced: list[tuple[int, ...]] = []
        self._frozen: list[tuple[Labels, str]] = []

    def fresh(self, count: int) -> Labels:
        """New labels, in a block of their own."""
        labels = np.arange(len(self._parents), len(self._parents) + count, dtype=np.int64)
        self._parents.extend(range(len(self._parents), len(self._parents) + count))
        self.mark_block(labels)
        return labels

    def mark_block(self, labels: Labels) -> int:
        """Promise that at least one of these labels stays (a piece of a Split). Returns the block's number."""
        self._blocks.append(labels)
        return len(self._blocks) - 1

    def balance(self, blocks: Labels) -> None:
        """blocks: (blocks, labels). Each keeps as many labels as the others, whichever (a grouped convolution)."""
        self._balanced.append(tuple(self.mark_block(block) for block in blocks))

    def join(self, first: Labels, second: Labels) -> None:
        """Position by position, the two labels are kept or removed together."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self._find(a), self._find(b)))
            self._parents[high] = low

    def freeze(self, labels: Labels, reason: str) -> None:
        """None of these may be removed. The first reason given to a class is the one a user reads."""
        self._frozen.append((labels, reason))

    def freeze_output(self, axes: Sequence[Labels | None], reason: str) -> None:
        """As `freeze_all`, before every other reason: a classifier keeps its classes whatever compares them."""
        self._frozen[:0] = [(labels, reason) for labels in axes if labels is not None]

    def freeze_all(self, axes: Sequence[Labels | None], reason: str) -> None:
        for labels in axes:
            if labels is not None:
                self.freeze(labels, reason)

    def close(self) -> Classes:
        roots = np.array([self._find(label) for label in range(len(self._parents))], dtype=np.int64)
        firsts, of_label = np.unique(roots, return_inverse=True)
        balanced = {number for family in self._balanced for number in family}
        blocks: list[list[int]] = [[] for _ in firsts]
        for number, labels in enumerate(self._blocks):
            indices, times = np.unique(of_label[labels], return_counts=True)
            for index, count in zip(indices.tolist(), times.tolist(), strict=True):
                blocks[index].extend([number] * (count if number in balanced else 1))
        frozen: dict[int, str] = {}
        for labels, reason in self._frozen:
            for index in np.unique(of_label[labels]).tolist():
                frozen.setdefault(index, reason)
        return Classes(
            of_label=of_label.astype(np.int64),
            blocks=tuple(map(tuple, blocks)),
            balanced=tuple(dict.fromkeys(self._balanced)),
            frozen=frozen,
        )

    def _find(self, label: int) -> int:
        parents = self._parents
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label
