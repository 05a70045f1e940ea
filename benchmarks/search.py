"""Is the search worth it? Every algorithm against the uniform ladder, for the example nets on a simulated Pi 4B.

    python benchmarks/search.py [--models resnet.onnx,mobilenet.onnx] [--seeds 3] [--budgets 60,100,200]
                                [--algorithms surrogate,nsga2,sms-emoa,optuna-tpe,optuna-nsga2] [--no-branches]
                                [--keep FOLDER] [--picture FILE.png] [--distil]

One thread, latency of the board's cost model without its noise. All begin with the same networks: the dense model and
the uniform ladder. The front by validation is recovered with the finalists' images, on both sides, and told by the
test split: hypervolume relative to the ladder's (error linear up to 15 points above dense, latency as a logarithm),
points of accuracy gained at equal speed-up, latency cut at equal accuracy. The ladder is twice as fine as the search's
own, and interpolated. The algorithm agreement is surrogate without any label; --distil also distils both sides at 3x.
Optuna's samplers where it is installed (pip install optuna). Really measured: studies.py.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from direct import Direct, Evaluated
from edgepareto.host.domain import Genome, PruningSpace
from edgepareto.host.pruning import GraphFeatures
from edgepareto.host.search import HypervolumeScale, Search, hypervolume
from markdown_table import markdown_table
from numpy.typing import NDArray

SPEED_UPS = (1.5, 2.0, 3.0, 4.0)
DISTILLED_AT = 3.0
POINTS_LOST = (1.0, 2.0, 4.0)
RANGE = np.exp(np.linspace(math.log(1.3), math.log(5.0), 60))
FINE_RUNGS = 40
BATCH = 10
MOST_LOST = 0.15  # of error, as in a study
WORST_POINTS = 0.15  # of error above dense, where the hypervolume ends
FASTEST = 10.0  # times dense, likewise
Array = NDArray[np.float64]
Asked = list[tuple[Genome, Evaluated]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """speed_ups: ascending; accuracies: of the test split, an envelope: of what is at least as fast, the best."""

    speed_ups: Array
    accuracies: Array
    genomes: tuple[Genome, ...]

    def at(self, speed_ups: Sequence[float] | Array) -> Array:
        return np.interp(np.log(speed_ups), np.log(self.speed_ups), self.accuracies)

    def speed_up(self, accuracy: float) -> float:
        """The largest at which accuracy is kept; the dense model's 1 where none is."""
        kept = np.flatnonzero(self.accuracies >= accuracy)
        if not len(kept):
            return 1.0
        last = int(kept[-1])
        if last + 1 == len(self.accuracies):
            return float(self.speed_ups[last])
        share = (self.accuracies[last] - accuracy) / max(self.accuracies[last] - self.accuracies[last + 1], 1e-12)
        logs = np.log(self.speed_ups)
        return float(np.exp(logs[last] + share * (logs[last + 1] - logs[last])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """fronts: by algorithm and budget, one per seed."""

    model: str
    dense: Evaluated
    ladder: Front
    fronts: dict[tuple[str, int], list[Front]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="resnet.onnx,mobilenet.onnx")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budgets", default="60,100,200")
    parser.add_argument("--algorithms", default="surrogate,nsga2,sms-emoa,optuna-tpe,optuna-nsga2")
    parser.add_argument("--no-branches", action="store_true")
    parser.add_argument("--keep", type=Path, help="what was evaluated, for another run")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--distil", action="store_true")
    arguments = parser.parse_args()
    budgets = sorted(map(int, arguments.budgets.split(",")))
    algorithms = arguments.algorithms.split(",")
    if find_spec("optuna") is None and any(name.startswith("optuna-") for name in algorithms):
        print("Optuna is not installed and left out: pip install optuna", file=sys.stderr)
        algorithms = [name for name in algorithms if not name.startswith("optuna-")]
    compared: list[Compared] = []
    with tempfile.TemporaryDirectory() as scratch:
        for model in arguments.models.split(","):
            direct = Direct(model, (arguments.keep or Path(scratch)).resolve() / Path(model).stem)
            space = direct.space(branches=not arguments.no_branches)
            compared.append(compare(model, direct, space, algorithms, arguments.seeds, budgets))
            if arguments.distil:
                distil_at(DISTILLED_AT, direct, space, compared[-1])
    if arguments.picture is not None:
        draw(arguments.picture, compared)


def compare(
    model: str,
    direct: Direct,
    space: PruningSpace,
    algorithms: Sequence[str],
    seeds: int,
    budgets: Sequence[int],
) -> Compared:
    ladder = front_of(direct, [(genome, direct.evaluate(genome)) for genome in space.ladder(FINE_RUNGS)])
    dense = direct.finalist(space.dense())
    print(
        f"\n{model}: {len(space.genes)} groups, {len(space.branches)} branches, dense {100 * (1 - dense.error):.2f} %"
    )
    told = (f"{100 * a:.2f} % at {x:g}x" for x, a in zip(SPEED_UPS, ladder.at(SPEED_UPS), strict=True))
    print(f"the ladder: {', '.join(told)}; medians of {seeds} seeds\n")
    rows = []
    fronts: dict[tuple[str, int], list[Front]] = {}
    for algorithm in algorithms:
        seconds, found = [], {budget: [] for budget in budgets}
        for seed in range(1, seeds + 1):
            start = time.process_time()
            asked = search(algorithm, direct, space, seed, max(budgets))
            seconds.append(time.process_time() - start)
            for budget in budgets:
                found[budget].append(front_of(direct, asked[:budget]))
        for budget in budgets:
            fronts[algorithm, budget] = found[budget]
            rows.append(
                [algorithm, str(budget), *row(found[budget], ladder, dense), f"{statistics.median(seconds):.0f}"]
            )
            print(", ".join(rows[-1]), file=sys.stderr, flush=True)
    points = [f"at {x:g}x" for x in SPEED_UPS]
    cuts = [f"latency at -{p:g}" for p in POINTS_LOST]
    header = ["algorithm", "candidates", "hypervolume", *points, "1.3-5x", "least", *cuts, "CPU s"]
    print(markdown_table(header, rows))
    return Compared(model=model, dense=dense, ladder=ladder, fronts=fronts)


def distil_at(speed_up: float, direct: Direct, space: PruningSpace, compared: Compared) -> None:
    """The two members around that speed-up, distilled on both sides and interpolated."""

    def distilled(front: Front) -> float:
        after = int(np.clip(np.searchsorted(front.speed_ups, speed_up), 1, len(front.genomes) - 1))
        around = [direct.distilled(front.genomes[place]) for place in (after - 1, after)]
        dense_s = direct.finalist(space.dense()).latency_s
        speed_ups = [math.log(dense_s / found.latency_s) for found in around]
        return 100 * float(np.interp(math.log(speed_up), speed_ups, [1 - found.error for found in around]))

    alone = distilled(compared.ladder)
    print(f"\ndistilled on both sides, at {speed_up:g}x: the ladder {alone:.2f} %")
    for (algorithm, budget), found in compared.fronts.items():
        points = [distilled(front) - alone for front in found]
        told = ", ".join(f"{p:+.2f}" for p in points)
        print(f"{algorithm}, {budget} candidates: {statistics.median(points):+.2f} points ({told})", flush=True)


def row(fronts: Sequence[Front], ladder: Front, dense: Evaluated) -> list[str]:
    """Medians over seeds: hypervolume relative to the ladder's, points gained, latency cut."""

    def median(of: Callable[[Front], float]) -> float:
        return statistics.median(of(front) for front in fronts)

    def cut(front: Front, points: float) -> float:
        accuracy = 1 - dense.error - points / 100
        return ladder.speed_up(accuracy) / front.speed_up(accuracy) - 1

    volume = median(lambda front: volume_of(front, dense) / volume_of(ladder, dense))
    gained = [median(partial(_gained, ladder=ladder, at=(x,), over=np.mean)) for x in SPEED_UPS]
    whole = [median(partial(_gained, ladder=ladder, at=RANGE, over=over)) for over in (np.mean, np.min)]
    cuts = [median(partial(cut, points=points)) for points in POINTS_LOST]
    return [f"{volume:.3f}", *(f"{g:+.2f}" for g in (*gained, *whole)), *(f"{100 * c:+.0f} %" for c in cuts)]


def _gained(front: Front, *, ladder: Front, at: Sequence[float] | Array, over: Callable[[Array], np.floating]) -> float:
    return 100 * float(over(front.at(at) - ladder.at(at)))


def search(algorithm: str, direct: Direct, space: PruningSpace, seed: int, budget: int) -> Asked:
    if algorithm.startswith("optuna-"):
        return by_optuna(algorithm.removeprefix("optuna-"), direct, space, seed, budget)
    features = GraphFeatures(direct.inputs.analysis, space)
    labels = algorithm != "agreement"
    searching = Search(
        algorithm if labels else "surrogate",
        space,
        objectives=2,
        limits=0,
        population=20,
        seed=seed,
        features=features,
        most_lost=MOST_LOST,
    )
    return evaluated(searching, direct, budget, labels=labels)


def evaluated(searching: Search[Genome], direct: Direct, budget: int, *, labels: bool = True) -> Asked:
    """What it asks for within the budget, and what came of it."""
    told: Asked = []
    while len(told) < budget:
        asked = [(genome, direct.evaluate(genome, labels=labels)) for genome in searching.ask(BATCH)]
        if not asked:
            break
        searching.tell([direct.outcome(genome, found) for genome, found in asked])
        told += asked
    return told[:budget]


def by_optuna(sampler: str, direct: Direct, space: PruningSpace, seed: int, budget: int) -> Asked:
    """The same seeds first; one index per gene, as our own search sees them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = optuna.samplers
    chosen = (
        samplers.TPESampler(seed=seed) if sampler == "tpe" else samplers.NSGAIISampler(seed=seed, population_size=20)
    )
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=chosen)
    for genome in space.seeds():
        study.enqueue_trial({str(place): index for place, index in enumerate(space.encode(genome))})
    told: dict[Genome, Evaluated] = {}
    while len(told) < budget:
        trial = study.ask()
        genome = space.decode(
            [trial.suggest_int(str(place), 0, axis.size - 1) for place, axis in enumerate(space.axes)]
        )
        found = direct.evaluate(genome)
        told[genome] = found  # asking again for a known one costs no measurement
        study.tell(trial, found.costs)
    return list(told.items())


def front_of(direct: Direct, asked: Asked) -> Front:
    """The front by validation, recovered as finalists are, told by the test split."""
    members = [
        genome
        for genome, found in asked
        if not any(
            other.error <= found.error and other.latency_s <= found.latency_s and other.costs != found.costs
            for _, other in asked
        )
    ]
    dense = direct.finalist(asked[0][0])
    finalists = [direct.finalist(genome) for genome in members]
    points = sorted(
        (dense.latency_s / found.latency_s, 1 - found.error, place) for place, found in enumerate(finalists)
    )
    speed_ups, accuracies, places = zip(*points, strict=True)
    best = np.maximum.accumulate(np.array(accuracies)[::-1])[::-1]
    return Front(speed_ups=np.array(speed_ups), accuracies=best, genomes=tuple(members[place] for place in places))


def volume_of(front: Front, dense: Evaluated) -> float:
    scale = HypervolumeScale(best=(dense.error, -math.log(FASTEST)), worst=(dense.error + WORST_POINTS, 0.0))
    return hypervolume(
        [(1 - a, -math.log(x)) for x, a in zip(front.speed_ups.tolist(), front.accuracies.tolist(), strict=True)], scale
    )


def draw(picture: Path, compared: Sequence[Compared]) -> None:
    """Accuracy over speed-up, a panel per net: the ladder, and of each algorithm the middle and the range of its
    seeds."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(compared), figsize=(5.2 * len(compared), 3.8), layout="constrained")
    for axes, one in zip(np.atleast_1d(panels), compared, strict=True):
        budget = 100 if any(number == 100 for _, number in one.fronts) else max(number for _, number in one.fronts)
        axes.axhline(100 - 100 * one.dense.error, color="0.8", linewidth=0.8, label="dense model")
        axes.plot(RANGE, 100 * one.ladder.at(RANGE), color="0.35", linestyle="--", label="uniform ladder")
        for (algorithm, number), found in one.fronts.items():
            if number == budget:
                curves = 100 * np.array([front.at(RANGE) for front in found])
                (line,) = axes.plot(RANGE, np.median(curves, axis=0), label=f"{algorithm}, {budget} candidates")
                axes.fill_between(RANGE, curves.min(axis=0), curves.max(axis=0), alpha=0.15, color=line.get_color())
        axes.set_xscale("log")
        axes.set_xticks([1.5, 2, 3, 4, 5], ["1.5x", "2x", "3x", "4x", "5x"])
        axes.minorticks_off()
        axes.set(xlabel="speed-up (simulated Pi 4B, one thread)", ylabel="test accuracy in %", title=one.model)
    np.atleast_1d(panels)[0].legend(frameon=False)
    figure.savefig(picture, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
