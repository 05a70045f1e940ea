"""Is the search worth it? Its hypervolume on the test split against that of the uniform ladder alone, per device.

    python benchmarks/studies.py [--seeds 3] [--measurements 80] [--model mobilenet.onnx] [--devices local]
                                [--output DIR]

Both run on the bundled example with the same end phase: recovery with all calibration images, re-measuring, test
scores. The ladder is a search that ends after generation 0. Hypervolume: test error linear, latency and energy as
logarithms, on the scale that the ladder's front spans, the same for both.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from edgepareto.host.config import Flags, StudyConfig, read_settings
from edgepareto.host.domain import DeviceFront, Estimate, FrontPoint, StudyFronts
from edgepareto.host.search import HypervolumeScale, hypervolume
from edgepareto.host.study import run_study

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--measurements", type=int, default=80)
    parser.add_argument("--model", default="resnet.onnx")
    parser.add_argument("--devices", default="pi1,jetson2")
    parser.add_argument("--output", type=Path, help="keep the studies here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        output = (arguments.output or Path(scratch)).resolve()
        flags = Flags(model=str(EXAMPLE / arguments.model), devices=tuple(arguments.devices.split(",")))
        example = read_settings(EXAMPLE / "edgepareto.toml", flags).study_config()
        ladder, _ = run(example, output / "ladder", algorithm="random", population=1, generations=1)
        gains: dict[str, list[float]] = {device.device.name: [] for device in ladder.devices}
        print("seed  device     ladder  search  ratio  seconds  speed-up within 2 points")
        for seed in range(1, arguments.seeds + 1):
            fronts, seconds = run(example, output / f"seed{seed}", seed=seed, measurements=arguments.measurements)
            for base, found in zip(ladder.devices, fronts.devices, strict=True):
                scale = HypervolumeScale.spanned_by([test_costs(p) for p in (base.dense, *base.front)])
                alone, searched = (hypervolume([test_costs(p) for p in d.front], scale) for d in (base, found))
                gains[base.device.name].append(searched / alone)
                print(
                    f"{seed:>4}  {base.device.name:<9} {alone:7.3f} {searched:7.3f}  {searched / alone:.3f}"
                    f"  {seconds:7.0f}  {best_speedup(found, points=2.0):.2f}"
                )
        for name, ratios in gains.items():
            verdict = "larger" if statistics.median(ratios) > 1 else "NOT larger"
            print(f"{name}: median ratio {statistics.median(ratios):.3f}: the search's hypervolume is {verdict}")


def run(example: StudyConfig, study: Path, **search: object) -> tuple[StudyFronts, float]:
    """A whole study with some of the search's settings changed; its fronts and the seconds it took."""
    config = dataclasses.replace(example, study=study, search=dataclasses.replace(example.search, **search))
    start = time.monotonic()
    fronts = run_study(config, resume=study.exists(), listener=lambda event: None)
    return fronts, time.monotonic() - start


def test_costs(point: FrontPoint) -> Sequence[float]:
    assert point.candidate.test_accuracy is not None, "the end phase scores every front member on the test split"
    energy = point.measurement.energy_j
    return Estimate(
        candidate=point.candidate.id,
        error=1 - point.candidate.test_accuracy,
        latency_s=point.measurement.latency_s.value,
        energy_j=energy.value if energy else None,
    ).costs


def best_speedup(front: DeviceFront, *, points: float) -> float:
    """How much faster than dense the fastest front member is that loses no more than `points` on the test split."""
    dense = front.dense.candidate.test_accuracy
    assert dense is not None
    kept = [p for p in front.front if 100 * (dense - (p.candidate.test_accuracy or 0)) <= points]
    return max(front.dense.measurement.latency_s.value / p.measurement.latency_s.value for p in kept)


if __name__ == "__main__":
    main()
