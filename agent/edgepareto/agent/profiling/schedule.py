"""How much is measured and in which order: the presets, and the random order of each round."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from edgepareto.agent.errors import RequestError

__all__ = ["PRESETS", "Preset", "anchored_orders", "preset_named", "shuffled_orders"]

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Every number of the protocol. A block, a warm-up or a window lasts until all its minima are reached.

    energy_rounds: windows per candidate. idle_s: an idle window, without its guards. look_s: for the
    contention before the batch; 50 clock ticks per core, so that it shows in steps of 2 % of a core. ranging_s: of the
    anchor under load, by which the meter's range is chosen; 100 samples of an INA219.
    """

    name: str
    minimum_rounds: int
    maximum_rounds: int
    block_s: float
    block_runs: int
    energy_rounds: int
    window_s: float
    window_samples: int
    window_inferences: int
    idle_s: float
    warm_up_s: float = 0.5
    warm_up_runs: int = 5
    guard_s: float = 0.25
    look_s: float = 0.5
    ranging_s: float = 0.5


# docs/measurement.md, Protocol.
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                name="quick",
                minimum_rounds=3,
                maximum_rounds=5,
                block_s=0.15,
                block_runs=5,
                energy_rounds=1,
                window_s=1.0,
                window_samples=1,
                window_inferences=1,
                idle_s=1.0,
            ),
            Preset(
                name="standard",
                minimum_rounds=5,
                maximum_rounds=15,
                block_s=0.3,
                block_runs=10,
                energy_rounds=3,
                window_s=5.0,
                window_samples=500,
                window_inferences=30,
                idle_s=3.0,
            ),
            Preset(
                name="audit",
                minimum_rounds=9,
                maximum_rounds=15,
                block_s=1.0,
                block_runs=30,
                energy_rounds=5,
                window_s=60.0,
                window_samples=500,
                window_inferences=30,
                idle_s=10.0,
            ),
        )
    }
)


def preset_named(name: str, presets: Mapping[str, Preset]) -> Preset:
    """Raises RequestError naming the known ones."""
    try:
        return presets[name]
    except KeyError:
        raise RequestError(f"preset {name!r} is unknown to this agent; known: {', '.join(presets)}") from None


def anchored_orders(anchor: _Item, others: Sequence[_Item], order_seed: int) -> Iterator[tuple[_Item, ...]]:
    """One order per latency round, without end: the anchor first, the others shuffled anew."""
    for order in shuffled_orders(others, order_seed):
        yield (anchor, *order)


def shuffled_orders(items: Sequence[_Item], order_seed: int) -> Iterator[tuple[_Item, ...]]:
    """One order per round, without end; the same for the same seed."""
    generator = random.Random(order_seed)
    while True:
        yield tuple(generator.sample(items, len(items)))
