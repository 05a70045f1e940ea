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
    """A layer that reads a group. weights: (outputs, channels, features of a channel), a feature being a tap, a copy.

    covariance: of the input, (channels x features, channels x features), channel by channel. output_variance: summed
    over the outputs, of the dense layer. sensitivity: of the model to errors of the layer, relative to that variance.
    """

    weights: NDArray[np.float64]
    covariance: NDArray[np.float64]
    output_variance: float
    sensitivity: float = 1.0

    @property
    def scale(self) -> float:
        """What a squared error, summed over the outputs, costs."""
        return self.sensitivity / self.output_variance if self.output_variance > 0 else 0.0


def surgeon_order(consumers: Sequence[Consumer], *, ridge: float = RIDGE) -> Labels:
    """Channels, most important first: each step removes the one that the others can best stand in for.

    With W_j the weights of channel j and H = C^-1, the loss of removing it is the sum over consumers of
    tr(W_j [H_jj]^-1 W_j'), scaled; the others' weights then take over, W -= W_j [H_jj]^-1 H_j, and H is down-dated.
    Only inner products of weight columns are needed, so the number of outputs does not matter. Equal losses: the lower
    index goes first.
    """
    channels = consumers[0].weights.shape[1]
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
    """One consumer's H = C^-1 and its weights' inner products P, as channels go; a channel is a block of `size` rows.

    A removal changes both by a few outer products. They are kept back and applied about LATE at a time, in one matrix
    product, since a step needs only the diagonal blocks and one row of them: the exact greedy order at the speed of a
    product. What is gone leaves the matrices then too, so on average a third of their elements are worked on.
    """

    LATE = 128

    def __init__(self, consumer: Consumer, ridge: float) -> None:
        outputs, channels, self._size = consumer.weights.shape
        weights = consumer.weights.reshape(outputs, -1)
        self._inverse = _inverse(consumer.covariance, ridge)
        self._products = weights.T @ weights
        self._inverse_blocks = self._diagonal(self._inverse, channels)
        self._product_blocks = self._diagonal(self._products, channels)
        self._scale = consumer.scale
        self._channels = np.arange(channels)  # of each block, as long as it has one
        self._block = np.arange(channels)  # of each channel
        # H is inverse - steps' @ rows; P is products - takes' @ steps - steps' @ takes
        self._start_late()

    def losses(self, left: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Of every channel; meaningless where one is gone."""
        blocks = np.where(left[self._channels, None, None], self._inverse_blocks, np.eye(self._size))
        inverses = 1 / blocks if self._size == 1 else np.linalg.inv(blocks)
        losses = np.zeros(len(left))
        losses[self._channels] = self._scale * np.einsum("cij,cji->c", inverses, self._product_blocks)
        return losses

    def remove(self, channel: int) -> None:
        if self._late + self._size > len(self._steps):
            self._catch_up()
        block = self._block[channel]
        own = slice(block * self._size, (block + 1) * self._size)
        steps, rows, takes = (late[: self._late] for late in (self._steps, self._rows, self._takes))
        inverse = self._inverse[own] - steps[:, own].T @ rows
        products = self._products[own] - takes[:, own].T @ steps - steps[:, own].T @ takes
        step = np.linalg.solve(inverse[:, own], inverse)
        take = products - products[:, own] @ step / 2
        by_channel = [part.reshape(self._size, -1, self._size).transpose(1, 0, 2) for part in (step, inverse, take)]
        across = [part.transpose(0, 2, 1) for part in by_channel]
        self._inverse_blocks -= across[0] @ by_channel[1]
        change = across[2] @ by_channel[0]
        self._product_blocks -= change + change.transpose(0, 2, 1)
        now = slice(self._late, self._late + self._size)
        self._steps[now], self._rows[now], self._takes[now] = step, inverse, take
        self._late += self._size
        self._gone.append(block)

    def _catch_up(self) -> None:
        stays = np.delete(np.arange(len(self._channels)), self._gone)
        features = (stays[:, None] * self._size + np.arange(self._size)).reshape(-1)
        square = np.ix_(features, features)
        steps, rows, takes = (late[: self._late, features] for late in (self._steps, self._rows, self._takes))
        self._inverse = self._inverse[square] - steps.T @ rows
        both = takes.T @ steps
        self._products = self._products[square] - (both + both.T)
        self._inverse_blocks, self._product_blocks = self._inverse_blocks[stays], self._product_blocks[stays]
        self._channels = self._channels[stays]
        self._block[self._channels] = np.arange(len(stays))
        self._start_late()

    def _start_late(self) -> None:
        self._steps = np.empty((max(self.LATE, self._size), len(self._inverse)))
        self._rows = np.empty_like(self._steps)
        self._takes = np.empty_like(self._steps)
        self._late = 0
        self._gone: list[int] = []  # blocks

    def _diagonal(self, matrix: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
        """(channels, size, size)."""
        blocks = matrix.reshape(channels, self._size, channels, self._size)
        diagonal: NDArray[np.float64] = blocks[np.arange(channels), :, np.arange(channels)]
        return diagonal


def magnitude_order(producers: Sequence[NDArray[np.float64]], *, norm: int) -> Labels:
    """producers: each (channels, elements), what makes the group. By the mean of |w|^norm, largest first."""
    return _largest_first(_sum([np.mean(np.abs(rows) ** norm, axis=1) for rows in producers]))


def activation_order(consumers: Sequence[Consumer]) -> Labels:
    """By the consumers' weights times the channel's root mean square: what the channel alone puts into the output."""
    scores = []
    for consumer in consumers:
        norms = np.einsum("ocf,ocf->cf", consumer.weights, consumer.weights)
        scores.append(consumer.scale * (norms * np.diag(consumer.covariance).reshape(norms.shape)).sum(axis=1))
    return _largest_first(_sum(scores))


def _sum(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.sum(np.stack(scores), axis=0))


def _largest_first(score: NDArray[np.float64]) -> Labels:
    return np.argsort(-score, kind="stable").astype(np.int64)


def _inverse(covariance: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    mean_variance = float(np.mean(np.diag(covariance)))
    damping = ridge * mean_variance if mean_variance > 0 else 1.0
    return np.asarray(np.linalg.inv(covariance + damping * np.eye(len(covariance))))
