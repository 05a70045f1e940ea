from __future__ import annotations

import subprocess
import sys
from itertools import islice

from edgepareto.agent.profiling.schedule import PRESETS, anchored_orders
from edgepareto.agent.profiling.stop_rule import latency_rounds
from hypothesis import given
from hypothesis import strategies as st


@given(count=st.integers(0, 6), seed=st.integers(0, 2**64 - 1))
def test_every_round_holds_every_model_once_with_the_anchor_first_and_the_seed_fixes_all(count: int, seed: int) -> None:
    others = list(range(1, count + 1))
    rounds = list(islice(anchored_orders(0, others, seed), 5))
    assert all(order[0] == 0 and sorted(order[1:]) == others for order in rounds)
    assert rounds == list(islice(anchored_orders(0, others, seed), 5))


def test_the_presets_are_those_of_the_specification() -> None:
    quick, standard = PRESETS["quick"], PRESETS["standard"]
    assert (latency_rounds(quick), quick.block_s, quick.block_runs) == (3, 0.15, 5)
    assert (latency_rounds(standard), standard.block_s, standard.block_runs) == (5, 0.3, 10)
    assert (quick.energy_rounds, quick.window_s, quick.idle_s) == (1, 1.0, 1.0)
    assert (standard.energy_rounds, standard.window_s, standard.idle_s) == (3, 5.0, 3.0)
    assert (standard.window_samples, standard.window_inferences) == (500, 30)
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
