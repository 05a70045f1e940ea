"""What searching ways to run a model together with its channels is worth, at an equal number of measurements.

    python benchmarks/deployments.py [--seeds 3] [--measurements 60] [--devices local] [--model resnet.onnx]
                                     [--output DIR]

Channels alone (ONNX Runtime, 32 bits, the device's threads) against channels, runtime, precision and threads. The same
end phase; hypervolume on the test split, as benchmarks/studies.py has it, on the scale that the dense model and the
front of channels alone span. On simulated boards it only says what our own figures of them say.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from edgepareto.host.config import Flags, read_settings
from edgepareto.host.search import HypervolumeScale, hypervolume
from studies import EXAMPLE, best_speedup, run, test_costs

EVERYTHING = {"runtimes": (), "precisions": (), "threads": ()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--measurements", type=int, default=60)
    parser.add_argument("--model", default="resnet.onnx")
    parser.add_argument("--devices", default="local")
    parser.add_argument("--output", type=Path, help="keep the studies here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        output = (arguments.output or Path(scratch)).resolve()
        flags = Flags(model=str(EXAMPLE / arguments.model), devices=tuple(arguments.devices.split(",")))
        example = read_settings(EXAMPLE / "edgepareto.toml", flags).study_config()
        ratios: dict[str, list[float]] = {}
        print("seed  device  channels alone  everything  ratio  seconds each  speed-up within 2 points")
        for seed in range(1, arguments.seeds + 1):
            known = {"seed": seed, "measurements": arguments.measurements}
            alone, seconds_alone = run(example, output / f"channels{seed}", **known)
            every, seconds = run(example, output / f"everything{seed}", **known, **EVERYTHING)
            for base, found in zip(alone.devices, every.devices, strict=True):
                scale = HypervolumeScale.spanned_by([test_costs(p) for p in (base.dense, *base.front)])
                before, after = (hypervolume([test_costs(p) for p in d.front], scale) for d in (base, found))
                ratios.setdefault(base.device.name, []).append(after / before)
                print(
                    f"{seed:>4}  {base.device.name:<9} {before:11.3f} {after:11.3f}  {after / before:5.2f}"
                    f"  {seconds_alone:5.0f} {seconds:5.0f}"
                    f"  {best_speedup(base, points=2.0):.2f} {best_speedup(found, points=2.0):.2f}",
                    flush=True,
                )
        for name, found_ratios in ratios.items():
            median = statistics.median(found_ratios)
            verdict = "larger" if median > 1 else "NOT larger"
            print(f"{name}: median ratio {median:.2f}: the hypervolume of everything is {verdict}")


if __name__ == "__main__":
    main()
