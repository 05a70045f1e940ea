"""How an ONNX tensor lies in the file: ONNX keeps channels first, TFLite's layers want them last.

A placement is the order of the ONNX axes in memory: stored axis i is ONNX axis order[i]. A Transpose of ONNX is then a
change of names and no work; work is done where a layer wants another order than there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Order", "Placed", "channels_last", "moves_nothing", "plain", "reshape_runs"]

Order = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """tensor: its number in the file. shape: ONNX's. order: see above."""

    tensor: int
    shape: tuple[int, ...]
    order: Order

    @property
    def stored(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.order)


def plain(rank: int) -> Order:
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """NHWC of ONNX's NCHW, NWC of NCW."""
    return (0, *range(2, rank), 1) if rank > 2 else plain(rank)


def moves_nothing(shape: Sequence[int], order: Order, wanted: Order) -> bool:
    """Whether both orders are the same bytes: only axes of size 1 change places."""
    return [axis for axis in order if shape[axis] != 1] == [axis for axis in wanted if shape[axis] != 1]


def reshape_runs(before: Sequence[int], after: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The smallest runs of neighbouring axes of `before` that become runs of neighbouring axes of `after`.

    (1, 8, 5, 5) to (1, 2, 4, 25): (0)->(0), (1)->(1, 2), (2, 3)->(3).
    """
    runs: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        first_in, first_out = i, j
        size_in = size_out = 1
        if i < len(before):
            size_in, i = before[i], i + 1
        if j < len(after):
            size_out, j = after[j], j + 1
        while size_in != size_out:
            if size_in < size_out:
                size_in, i = size_in * before[i], i + 1
            else:
                size_out, j = size_out * after[j], j + 1
        if i == len(before):  # what is left has size 1
            j = len(after)
        elif j == len(after):
            i = len(before)
        runs.append((tuple(range(first_in, i)), tuple(range(first_out, j))))
    return runs
