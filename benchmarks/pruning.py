"""Accuracy after pruning every group by the same share, without any training: the table of docs/pruning.md.

python benchmarks/pruning.py [--recovery ls|moment|none] [--criterion obs|l1|l2|activation]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from edgepareto.host.accuracy import load_dataset, metric_by_name, score
from edgepareto.host.config import DataConfig
from edgepareto.host.export import read_model
from edgepareto.host.pruning import analyse, prepare

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"
RATIOS = (0.3, 0.5, 0.7)
SEARCH_IMAGES = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recovery", default="ls", choices=["ls", "moment", "none"])
    parser.add_argument("--criterion", default="obs", choices=["obs", "l1", "l2", "activation"])
    arguments = parser.parse_args()
    for name in ("resnet.onnx", "mobilenet.onnx"):
        analysis = analyse(read_model(EXAMPLE / name))
        data = DataConfig(scale=1 / 255)
        calibration, validation = (
            load_dataset(str(EXAMPLE / file), data, analysis.inputs, folder=EXAMPLE, labelled=labelled, classes=10)
            for file, labelled in (("calibration.npz", False), ("validation.npz", True))
        )
        metric = metric_by_name("top1")
        feed = calibration.first(SEARCH_IMAGES).feed(slice(None))
        prepared = prepare(analysis, feed, criterion=arguments.criterion, images=SEARCH_IMAGES)
        dense = score(analysis.model.SerializeToString(), validation, metric)
        print(f"{name}: dense {100 * dense:.1f} %")
        for ratio in RATIOS:
            start = time.perf_counter()
            pruned = prepared.prune(analysis.search_space(1).uniform(1 - ratio), recovery=arguments.recovery)
            seconds = time.perf_counter() - start
            accuracy = score(pruned.model.SerializeToString(), validation, metric)
            kept = pruned.parameters / analysis.parameters
            print(f"  {ratio:.0%} removed: {100 * accuracy:.1f} %, {kept:.2f} of the parameters, {seconds:.2f} s")


if __name__ == "__main__":
    main()
