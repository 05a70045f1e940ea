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

__all__ = ["CRITERIA", "Consumer", "activation_order", "magnitude_order", "surgeon_order"]

CRITERIA = ("obs", "l1", "l2", "activation")
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
    w -= w_j C^-1_j / [C^-1]_jj, and C^-1 is down-dated. Only inner products of weight columns are needed, so a step
    costs channels^2, whatever the number of outputs. Equal losses: the lower index goes first.
    """
    channels = consumers[0].covariance.shape[0]
    inverses = [_inverse(consumer.covariance, ridge) for consumer in consumers]
    products = [np.einsum("oct,odt->cd", c.weights, c.weights, optimize=True) for c in consumers]
    scales = [1 / consumer.output_variance if consumer.output_variance > 0 else 0.0 for consumer in consumers]
    left = np.ones(channels, dtype=bool)
    removed: list[int] = []
    for _ in range(channels):
        loss = np.zeros(channels)
        for inverse, product, scale in zip(inverses, products, scales, strict=True):
            loss += scale * np.diag(product) / np.where(left, np.diag(inverse), 1.0)
        index = int(np.argmin(np.where(left, loss, np.inf)))
        removed.append(index)
        left[index] = False
        for inverse, product in zip(inverses, products, strict=True):
            _eliminate(inverse, product, index)
    return np.array(removed[::-1], dtype=np.int64)


def _eliminate(inverse: NDArray[np.float64], product: NDArray[np.float64], index: int) -> None:
    """Take a channel out of C^-1 and, with w -= w_j step, out of the weights' inner products; both in place."""
    step = inverse[index] / inverse[index, index]
    column = product[index].copy()
    product -= np.outer(column, step) + np.outer(step, column) - column[index] * np.outer(step, step)
    inverse -= np.outer(step, inverse[index])


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
