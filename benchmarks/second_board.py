"""What `--like` is worth: a second board's search that starts from what a first one found, against one from nothing.

    python benchmarks/second_board.py [--models resnet.onnx,mobilenet.onnx] [--seeds 3] [--keep FOLDER]
                                      [--first raspberry-pi-4b] [--second raspberry-pi-5]

Both boards are simulated, one thread, without noise. Hypervolume of everything asked, on the validation split, on the
scale of the second board's ladder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from direct import Direct
from edgepareto.host.domain import DeviceName, PruningSpace
from edgepareto.host.pruning import GraphFeatures
from edgepareto.host.search import HypervolumeScale, Search, hypervolume
from edgepareto.host.store import FoundElsewhere
from edgepareto.host.study.elsewhere import in_this_space
from markdown_table import markdown_table
from search import MOST_LOST, Asked, evaluated

BUDGETS = (40, 60, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="resnet.onnx,mobilenet.onnx")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", default="raspberry-pi-4b")
    parser.add_argument("--second", default="raspberry-pi-5")
    parser.add_argument("--keep", type=Path, help="what was evaluated, for another run")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for model in arguments.models.split(","):
            keep = (arguments.keep or Path(scratch)).resolve() / Path(model).stem
            first = Direct(model, keep, board=arguments.first)
            second = Direct(model, keep.with_name(f"{keep.name}-{arguments.second}"), board=arguments.second)
            rows += compare(model, first, second, arguments.seeds)
    print(markdown_table(["net", "search", *(f"{budget} measurements" for budget in BUDGETS)], rows))


def compare(model: str, first: Direct, second: Direct, seeds: int) -> list[list[str]]:
    space = second.space()
    scale = HypervolumeScale.spanned_by([second.evaluate(genome).costs for genome in space.seeds()])
    found: dict[str, list[list[float]]] = {"from nothing": [], "like the first": []}
    for seed in range(1, seeds + 1):
        there = search(first, first.space(), seed, max(BUDGETS), [])
        for name, known in (("from nothing", []), ("like the first", there)):
            asked = search(second, space, seed, max(BUDGETS), known)
            found[name].append([hypervolume([f.costs for _, f in asked[:budget]], scale) for budget in BUDGETS])
    whole = statistics.median(volumes[-1] for volumes in found["from nothing"])
    return [
        [model, name, *(f"{statistics.median(column) / whole:.3f}" for column in zip(*volumes, strict=True))]
        for name, volumes in found.items()
    ]


def search(direct: Direct, space: PruningSpace, seed: int, budget: int, known: Asked) -> Asked:
    """known: what another board found, whose errors are true here too where this one can have the same genome."""
    there = FoundElsewhere(device=DeviceName("first"), rows=tuple((genome, found.costs) for genome, found in known))
    searching = Search(
        "surrogate",
        space,
        objectives=2,
        limits=0,
        population=20,
        seed=seed,
        features=GraphFeatures(direct.inputs.analysis, space),
        most_lost=MOST_LOST,
        elsewhere=in_this_space(there, space),
    )
    return evaluated(searching, direct, budget)


if __name__ == "__main__":
    main()
