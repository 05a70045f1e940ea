"""In which order a group's channels go. One nested order serves every width: a genome is the length of a prefix.

Source of `surgeon_order`: Frantar & Alistarh, Optimal Brain Compression (2022); Kurtic et al., ZipLM (2023): the greedy
step of the optimal brain surgeon, with a channel as the unit and what its consumers put out as the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from numpy.typing import NDArray

__all__ = ["Consumer", "activation_order", "magnitude_order", "surgeon_order"]

RIDGE = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A layer that reads a group. weights: (outputs, channels, taps). covariance: (channels, channels) of its input.

    output_variance: summed over the outputs, of the dense layer; it makes consumers of different scale comparable.
    """

    weights: NDArray[np.float64]
    covariance: NDArray[np.float64]
    output_variance: float


def surgeon_order(consumers: Sequence[Consumer], *, ridge: float = RIDGE) -> Labels:
    """Channels, most important first: each step removes the one that the others can best stand in for.

    The loss of removing j is sum over consumers of |w_j|^2 / [C^-1]_jj / E|y|^2; the others' weights then take over,
    w -= w_j C^-1_j / [C^-1]_jj, and C^-1 is down-dated. Only inner products of weight columns are needed, so
    the number of outputs does not matter. Equal losses: the lower index goes first.
    """
    channels = consumers[0].covariance.shape[0]
    eliminations = [_Elimination(consumer, ridge) for consumer in consumers]
    left = np.ones(channels, dtype=bool)
    removed: list[int] = []
    for _ in range(channels):
        loss = _sum([elimination.losses(left) for elimination in eliminations])
        index = int(np.argmin(np.where(left, loss, np.inf)))
        removed.append(index)
        left[index] = False
        for elimination in eliminations:
            elimination.remove(index)
    return np.array(removed[::-1], dtype=np.int64)


class _Elimination:
    """One consumer's C^-1 and its weights' inner products P, as channels go.

    A removal changes both by a few outer products. They are kept back and applied LATE at a time, in one matrix
    product, since a step needs only the diagonals and one row: the exact greedy order at the speed of a product.
    """

    LATE = 64

    def __init__(self, consumer: Consumer, ridge: float) -> None:
        weights = consumer.weights
        self._inverse = _inverse(consumer.covariance, ridge)
        self._products = np.einsum("oct,odt->cd", weights, weights, optimize=True)
        self._inverse_diagonal = np.diag(self._inverse).copy()
        self._products_diagonal = np.diag(self._products).copy()
        self._scale = 1 / consumer.output_variance if consumer.output_variance > 0 else 0.0
        # C^-1 is inverse - steps * pivots @ steps.T; P is products - takes @ steps.T - steps @ takes.T
        self._steps = np.empty((len(self._inverse), self.LATE))
        self._takes = np.empty_like(self._steps)
        self._pivots = np.empty(self.LATE)
        self._late = 0

    def losses(self, left: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(self._scale * self._products_diagonal / np.where(left, self._inverse_diagonal, 1.0))

    def remove(self, index: int) -> None:
        steps, takes = self._steps[:, : self._late], self._takes[:, : self._late]
        inverse = self._inverse[index] - steps @ (self._pivots[: self._late] * steps[index])
        product = self._products[index] - takes @ steps[index] - steps @ takes[index]
        step = inverse / inverse[index]
        take = product - product[index] / 2 * step
        self._inverse_diagonal -= step * inverse
        self._products_diagonal -= 2 * take * step
        self._steps[:, self._late], self._takes[:, self._late] = step, take
        self._pivots[self._late] = inverse[index]
        self._late += 1
        if self._late == self.LATE:
            self._inverse -= (self._steps * self._pivots) @ self._steps.T
            self._products -= self._takes @ self._steps.T
            self._products -= self._steps @ self._takes.T
            self._late = 0


def magnitude_order(producers: Sequence[NDArray[np.float64]], *, norm: int) -> Labels:
    """producers: each (channels, elements), what makes the group. By the mean of |w|^norm, largest first."""
    return _largest_first(_sum([np.mean(np.abs(rows) ** norm, axis=1) for rows in producers]))


def activation_order(consumers: Sequence[Consumer]) -> Labels:
    """By the consumers' weight norm times the channel's standard deviation: what the channel puts into the output."""
    scores = []
    for consumer in consumers:
        norm = np.einsum("oct,oct->c", consumer.weights, consumer.weights)
        scale = 1 / consumer.output_variance if consumer.output_variance > 0 else 0.0
        scores.append(norm * np.diag(consumer.covariance) * scale)
    return _largest_first(_sum(scores))


def _sum(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.sum(np.stack(scores), axis=0))


def _largest_first(score: NDArray[np.float64]) -> Labels:
    return np.argsort(-score, kind="stable").astype(np.int64)


def _inverse(covariance: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    mean_variance = float(np.mean(np.diag(covariance)))
    damping = ridge * mean_variance if mean_variance > 0 else 1.0
    return np.asarray(np.linalg.inv(covariance + damping * np.eye(len(covariance))))
