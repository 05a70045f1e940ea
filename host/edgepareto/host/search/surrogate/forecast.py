"""What the models of all objectives and limits say of genomes, on the scale of costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.search.surrogate.objective_model import ObjectiveModel
from numpy.typing import NDArray

__all__ = ["OPTIMISM", "Forecast", "modelled", "on_scale_of_costs"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
# Deviations below the mean, in turn for the members of a batch: some go where the front is sure to grow a little, some
# where nobody knows.
OPTIMISM = (0.5, 2.5)
LEAST_SHARE = 1e-4  # a share of 0 has no log-odds


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """models: one per objective. limits: of those that anything broke. shares: per objective, whether it is modelled by
    its log-odds. wider: per objective, times how many the models' deviations were too small so far. Genomes are
    indices, (n, genes)."""

    models: Sequence[ObjectiveModel]
    limits: Sequence[ObjectiveModel]
    shares: Sequence[bool]
    wider: Array

    def costs(self, genomes: Indices) -> list[Array]:
        """Expected, and how good they may be at each level of optimism, (n, objectives) each."""
        means, deviations = self.beliefs(genomes)
        wider = self.wider * deviations
        return [on_scale_of_costs(means - level * wider, self.shares) for level in (0.0, *OPTIMISM)]

    def beliefs(self, genomes: Indices) -> tuple[Array, Array]:
        """Means and the models' own deviations, on their scale, (n, objectives) each."""
        predictions = [model.predict(genomes) for model in self.models]
        means = np.stack([prediction.mean for prediction in predictions], axis=1)
        return means, np.stack([prediction.deviation for prediction in predictions], axis=1)

    def least_beyond(self, genomes: Indices) -> Array:
        """By how much each limit is broken at the least, by a careful optimist: (n, limits), <= 0: it may be kept."""
        predictions = [limit.predict(genomes) for limit in self.limits]
        columns = [prediction.mean - OPTIMISM[0] * prediction.deviation for prediction in predictions]
        return np.stack(columns, axis=1) if columns else np.empty((len(genomes), 0))

    def beyond(self, genomes: Indices) -> Array:
        """By how much all limits together are expected to be broken, (n,)."""
        broken = [np.maximum(limit.predict(genomes).mean, 0.0) for limit in self.limits]
        return np.asarray(np.sum(broken, axis=0)) if broken else np.zeros(len(genomes))


def modelled(costs: Array, shares: Sequence[bool]) -> Array:
    """(n, objectives) on the models' scale: log-odds of shares."""
    values: Array = costs.copy()
    for place, is_share in enumerate(shares):
        if is_share:
            clipped = np.clip(costs[:, place], LEAST_SHARE, 1 - LEAST_SHARE)
            values[:, place] = np.log(clipped / (1 - clipped))
    return values


def on_scale_of_costs(values: Array, shares: Sequence[bool]) -> Array:
    """The way back from `modelled`."""
    costs: Array = values.copy()
    for place, is_share in enumerate(shares):
        if is_share:
            costs[:, place] = 1 / (1 + np.exp(-values[:, place]))
    return costs
