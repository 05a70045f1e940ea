"""Which score on a few validation images says most of the accuracy on images that nobody has looked at.

Pruned versions of the example nets, the uniform ladder and as many of random widths, each scored on draws of the
validation split; from the score a cubic predicts the accuracy on the test split, each net from all the others (leave
one out). The table has the root mean square of what it misses, in points, the median over the draws: of all nets, and
of those within six points of the unpruned one. Labels are needed for `accuracy` alone. The luck of the test split is in
every number.

    python benchmarks/smooth_scores.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgepareto.host.accuracy import Dataset, load_dataset, predictor
from edgepareto.host.config import DataConfig
from edgepareto.host.domain import Genome, PruningSpace
from edgepareto.host.export import read_model
from edgepareto.host.pruning import Analysis, analyse, prepare
from markdown_table import markdown_table
from numpy.typing import NDArray

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"
NETS = ("resnet.onnx", "mobilenet.onnx")
IMAGES = 512
LOWEST_RATIO = 0.2
SAMPLES = (500, 2000, 5000)
DRAWS = 20
DEGREE = 3
NEAR = 6.0  # points below the unpruned net

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Of one pruned net, per validation image: right, as the unpruned net says, KL from it. test_accuracy: percent."""

    hits: NDArray[np.bool_]
    agrees: NDArray[np.bool_]
    divergences: Floats
    test_accuracy: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nets", type=int, default=20, help="of random widths, beside the ladder's 20")
    random_nets = options.parse_args().nets
    rows = []
    for name in NETS:
        dense, judged = _judged(name, random_nets)
        near = [one for one in judged if one.test_accuracy > dense - NEAR]
        least = min(one.test_accuracy for one in judged)
        print(f"{name}: {len(judged)} nets, {least:.1f} to {dense:.1f} %; {len(near)} are near", flush=True)
        for count in SAMPLES:
            both = zip(_missed(judged, count), _missed(near, count), strict=True)
            rows.append([name, f"{count:,}", *(f"{of_all:.2f} / {of_near:.2f}" for of_all, of_near in both)])
    print(markdown_table(["net", "validation images", "accuracy", "agreement", "divergence"], rows))


def _judged(name: str, random_nets: int) -> tuple[float, list[Judged]]:
    """And the unpruned net's test accuracy, in percent."""
    analysis = analyse(read_model(EXAMPLE / name))
    calibration, validation, test = (_load(split, analysis) for split in ("calibration", "validation", "test"))
    prepared = prepare(analysis, calibration.first(IMAGES).feed(slice(None)))
    space = analysis.search_space()
    unpruned = (EXAMPLE / name).read_bytes()
    dense = _outputs(unpruned, validation)
    genomes = dict.fromkeys((*space.ladder(), *_random(space, random_nets)))
    del genomes[space.dense()]
    found = []
    for genome in genomes:
        content = prepared.prune(genome).content
        mine = _outputs(content, validation)
        found.append(
            Judged(
                hits=mine.argmax(axis=1) == validation.labels,
                agrees=mine.argmax(axis=1) == dense.argmax(axis=1),
                divergences=np.sum(np.exp(dense) * (dense - mine), axis=1),
                test_accuracy=_accuracy(content, test),
            )
        )
    return _accuracy(unpruned, test), found


def _random(space: PruningSpace, count: int) -> list[Genome]:
    """Each group at a share of its own."""
    random = np.random.default_rng(0)
    ratios = random.uniform(LOWEST_RATIO, 1, size=(count, len(space.genes)))
    even = [[space.uniform(ratio).widths[place] for place, ratio in enumerate(row)] for row in ratios]
    return [Genome(widths=tuple(widths)) for widths in even]


def _accuracy(model: bytes, data: Dataset) -> float:
    return float(100 * np.mean(_outputs(model, data).argmax(axis=1) == data.labels))


def _outputs(model: bytes, data: Dataset) -> Floats:
    """(samples, classes), logarithms of the softmax."""
    predict = predictor(model)
    logits = np.concatenate([predict(data.feed(rows)) for rows in data.chunks()]).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


def _missed(judged: Sequence[Judged], count: int) -> list[float]:
    """By accuracy, agreement and divergence."""
    random = np.random.default_rng(1)
    whole = len(judged[0].hits)
    draws = [random.permutation(whole)[:count] for _ in range(DRAWS if count < whole else 1)]
    test = np.array([one.test_accuracy for one in judged])
    hits, agrees, divergences = (
        np.array([one.hits for one in judged]),
        np.array([one.agrees for one in judged]),
        np.array([one.divergences for one in judged]),
    )
    missed = [
        [_left_one_out(score[:, rows].mean(axis=1), test) for score in (hits, agrees, divergences)] for rows in draws
    ]
    return [float(value) for value in np.median(missed, axis=0)]


def _left_one_out(score: Floats, test: Floats) -> float:
    """What a polynomial misses of one net, fitted to the others, by the hat matrix."""
    design = np.vander((score - score.mean()) / score.std(), DEGREE + 1)
    hat = design @ np.linalg.pinv(design)
    return float(np.sqrt(np.mean(((test - hat @ test) / (1 - np.diag(hat))) ** 2)))


def _load(split: str, analysis: Analysis) -> Dataset:
    return load_dataset(
        f"{split}.npz",
        DataConfig(scale=1 / 255),
        analysis.inputs,
        folder=EXAMPLE,
        labelled=split != "calibration",
        classes=10,
    )


if __name__ == "__main__":
    main()
