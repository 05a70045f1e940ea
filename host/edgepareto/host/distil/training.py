"""The training itself: Adam on minibatches of calibration samples towards the dense model's outputs.

Bits depend on the seed, the libraries and the processor alone: one thread, torch's deterministic algorithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from edgepareto.host.distil.node import Tensor
from edgepareto.host.distil.samples import Places, Samples
from edgepareto.host.distil.settings import DistilSettings
from edgepareto.host.distil.targets import SMALLEST_SHARE, Target
from edgepareto.host.distil.teacher import Labels
from edgepareto.host.distil.torch_graph import TorchGraph
from edgepareto.host.errors import EvaluationError

__all__ = ["Teaching", "deterministic", "train"]

F = torch.nn.functional
WARM_UP = 0.2  # of the steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """samples and, by their places, what is to be said of them. at_once: a minibatch is one run, whatever the model's
    own batch. labels: (samples,), None where no cross-entropy is added."""

    samples: Samples
    targets: Sequence[Target]
    labels: Labels | None
    at_once: bool

    def run(self, graph: TorchGraph, places: Places) -> dict[str, Tensor]:
        """The graph's ends, one row per sample."""
        runs = [places] if self.at_once else self.samples.runs(places, len(places))
        made = [graph.run(self.feed(part)) for part in runs]
        if len(made) == 1 and not self.samples.is_single:
            return made[0]
        join = torch.stack if self.samples.is_single else torch.cat
        return {end: join([each[end] for each in made]) for end in graph.ends}

    def feed(self, places: Places) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array) for name, array in self.samples.feed(places).items()}

    def loss(self, graph: TorchGraph, places: Places, settings: DistilSettings) -> Tensor:
        """Mean over these samples, summed over the targets. A KL at a temperature is times its square, so that its
        gradient stays as large (Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015)."""
        made = self.run(graph, places)
        total = torch.zeros(())
        for target in self.targets:
            wanted, seen = torch.from_numpy(target.values[places]), made[target.end]
            if not target.is_classes:
                total = total + F.mse_loss(seen, wanted) / target.scale
                continue
            logits = seen.clamp(min=SMALLEST_SHARE).log() if _is_shares(target) else seen
            warmth = settings.temperature
            dense, mine = torch.log_softmax(wanted / warmth, 1), torch.log_softmax(logits / warmth, 1)
            total = total + warmth**2 * F.kl_div(mine, dense, reduction="batchmean", log_target=True)
            if self.labels is not None and settings.label_weight:
                labels = torch.from_numpy(self.labels[places])
                total = total + settings.label_weight * F.cross_entropy(logits, labels)
        return total


def train(graph: TorchGraph, teaching: Teaching, places: Places, settings: DistilSettings, batch: int) -> None:
    """Changes the graph's parameters. places: the samples to train on. Raises EvaluationError where it diverges."""
    optimiser = torch.optim.Adam(graph.parameters.values(), lr=settings.learning_rate)
    random = np.random.default_rng(settings.seed)
    minibatches = _minibatches(places, batch, teaching.samples.batch, random)
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _share(step, settings.steps)
        optimiser.zero_grad()
        loss = teaching.loss(graph, next(minibatches), settings)
        if not bool(torch.isfinite(loss)):
            raise EvaluationError(
                f"distillation diverged at step {step} with learning rate {settings.learning_rate:g}; try a smaller one"
            )
        loss.backward()
        optimiser.step()


def _share(step: int, steps: int) -> float:
    """Of the learning rate: rising at first, since Adam's first steps are as long as any and know one minibatch of a
    model that is nearly good already, then falling to 0 as a cosine."""
    rising = min(1.0, (step + 1) / max(1.0, WARM_UP * steps))
    return rising * 0.5 * (1 + math.cos(math.pi * step / steps))


def _minibatches(places: Places, batch: int, own: int | None, random: np.random.Generator) -> Iterator[Places]:
    """Endlessly, each sample once before any comes again. own: samples of one run, which stay together."""
    groups = places.reshape(-1, own or 1)
    size = max(1, batch // (own or 1))
    waiting = np.empty((0, groups.shape[1]), np.int64)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, groups[random.permutation(len(groups))]])
        yield waiting[:size].ravel()
        waiting = waiting[size:]


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread, and only algorithms that give the same bits each time; afterwards torch is as it was."""
    threads, was = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it costs time, and nothing here reads such memory
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(was)
        torch.set_num_threads(threads)


def _is_shares(target: Target) -> bool:
    return target.are_shares and target.end == target.output
