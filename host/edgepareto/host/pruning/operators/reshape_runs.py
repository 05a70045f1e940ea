"""A Reshape as runs: the shortest stretches of input axes and output axes that hold the same elements.

Sizes are whole numbers or products with a symbolic batch ("4*batch"). Channels that share an axis with such a symbol
keep their labels once: the axis repeats them, batch by batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.graph_walk import Untracked
from edgepareto.host.pruning.normal_form.shape_inference import Shape, size_factors

__all__ = ["flat_labels", "matching_runs", "whole_factor"]

Size = int | str | None


def matching_runs(source: Shape, result: Shape) -> list[tuple[list[int], list[int]]]:
    """(input axes, output axes) of each run, left to right. Raises Untracked where the sizes cannot be matched."""
    runs: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(source) or j < len(result):
        inside: list[int] = []
        outside: list[int] = []
        if i < len(source) and j < len(result) and source[i] == result[j] and source[i] is not None:
            runs.append(([i], [j]))
            i, j = i + 1, j + 1
            continue
        while not inside or not outside or _product(source, inside) != _product(result, outside):
            if i < len(source) and (j >= len(result) or not inside or _divides(source, inside, result, outside)):
                inside.append(i)
                i += 1
            elif j < len(result):
                outside.append(j)
                j += 1
            else:
                break
        if _product(source, inside) != _product(result, outside):
            raise Untracked("has sizes that do not multiply up")
        runs.append((inside, outside))
    return runs


def flat_labels(shape: Sequence[Size], axes: Sequence[Labels | None]) -> Labels | None:
    """Labels of several axes read as one: each label is repeated over what follows it and tiled over what leads it."""
    labelled = [axis for axis, labels in enumerate(axes) if labels is not None]
    if not labelled:
        return None
    chosen = next((axis for axis in labelled if shape[axis] != 1), labelled[0])  # a single channel never goes
    labels = axes[chosen]
    assert labels is not None
    if len(shape) == 1:
        return labels
    if len([axis for axis in labelled if shape[axis] != 1]) > 1:
        raise Untracked("folds two channel axes into one")
    if any(_parts(size)[1] for size in shape[1:]) or (_parts(shape[0])[1] and whole_factor(shape[0]) > 1 and chosen):
        raise Untracked("folds an axis of unknown size into the channels")
    before = math.prod(whole_factor(size) for size in shape[:chosen])
    after = math.prod(whole_factor(size) for size in shape[chosen + 1 :])
    return np.broadcast_to(labels[None, :, None], (before, len(labels), after)).reshape(-1)


def whole_factor(size: Size) -> int:
    """The whole number in a product: 4 of "4*batch", 1 of "batch"."""
    return _parts(size)[0]


def _divides(source: Shape, inside: list[int], result: Shape, outside: list[int]) -> bool:
    """Whether the input axes hold less than the output axes so far, so that the next one is an input axis."""
    factor, symbols = _product(source, inside)
    wanted, wanted_symbols = _product(result, outside)
    missing, extra = Counter(wanted_symbols) - Counter(symbols), Counter(symbols) - Counter(wanted_symbols)
    return bool(missing) or (not extra and factor < wanted)


def _product(shape: Shape, axes: list[int]) -> tuple[int, tuple[str, ...]]:
    parts = [_parts(shape[axis]) for axis in axes]
    symbols = sorted(symbol for _, of_size in parts for symbol in of_size)
    return math.prod(factor for factor, _ in parts), tuple(symbols)


def _parts(size: Size) -> tuple[int, tuple[str, ...]]:
    if size is None:
        raise Untracked("folds an axis of unknown size into the channels")
    return size_factors(size)
