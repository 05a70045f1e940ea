from __future__ import annotations

import subprocess
import sys
from itertools import islice

from edgepareto.agent.profiling.schedule import PRESETS, anchored_orders
from hypothesis import given
from hypothesis import strategies as st


@given(count=st.integers(0, 6), seed=st.integers(0, 2**64 - 1))
def test_every_round_holds_every_model_once_with_the_anchor_first_and_the_seed_fixes_all(count: int, seed: int) -> None:
    others = list(range(1, count + 1))
    rounds = list(islice(anchored_orders(0, others, seed), 5))
    assert all(order[0] == 0 and sorted(order[1:]) == others for order in rounds)
    assert rounds == list(islice(anchored_orders(0, others, seed), 5))


def test_the_presets_are_those_of_the_specification() -> None:
    rows = {
        name: (
            (p.minimum_rounds, p.maximum_rounds),
            (p.block_s, p.block_runs),
            (p.energy_rounds, p.window_s, p.window_samples, p.window_inferences),
            p.idle_s,
        )
        for name, p in PRESETS.items()
    }
    assert rows == {
        "quick": ((3, 5), (0.15, 5), (1, 1.0, 1, 1), 1.0),
        "standard": ((5, 15), (0.3, 10), (3, 5.0, 500, 30), 3.0),
        "audit": ((9, 15), (1.0, 30), (5, 60.0, 500, 30), 10.0),
    }
    assert all((p.warm_up_s, p.warm_up_runs, p.guard_s) == (0.5, 5, 0.25) for p in PRESETS.values())
    assert all(name == preset.name for name, preset in PRESETS.items())


def test_what_the_server_imports_loads_neither_numpy_nor_a_runtime() -> None:
    script = (
        "import sys, edgepareto.agent.profiling, edgepareto.agent.conditions, edgepareto.agent.worker, "
        "edgepareto.agent.runtime\n"
        "print([name for name in ('numpy', 'onnxruntime', 'onnx', 'smbus2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
