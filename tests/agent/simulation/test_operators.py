from __future__ import annotations

from pathlib import Path

import numpy as np
from edgepareto.agent.simulation.cost_model import OpKind
from edgepareto.agent.simulation.operators import list_operators


def test_a_cnns_operators_come_out_at_their_real_sizes(small_cnn: Path):
    operators = list_operators(small_cnn, {"x": np.ones((1, 3, 16, 16), np.float32)})
    seen = [(operator.kind, operator.channels, operator.macs) for operator in operators]
    assert seen == [
        (OpKind.CONV_3X3, 8, 16 * 16 * 8 * 3 * 9),  # with batch norm folded and Relu fused
        (OpKind.DEPTHWISE, 8, 8 * 8 * 8 * 9),  # with Clip fused
        (OpKind.POINTWISE, 20, 8 * 8 * 20 * 8),
        (OpKind.ELEMENTWISE, 20, 0),
        (OpKind.GROUPED, 20, 8 * 8 * 20 * 5 * 9),
        (OpKind.POOL, 20, 0),
        (OpKind.CONV, 6, 4 * 4 * 6 * 20 * 25),
        (OpKind.POOL, 6, 0),
        (OpKind.FULLY_CONNECTED, 10, 10 * 6),
    ]
    assert [operator.weights for operator in operators] == [216, 72, 160, 0, 900, 0, 3000, 0, 60]


def test_a_larger_batch_is_more_work(small_cnn: Path):
    one, three = (list_operators(small_cnn, {"x": np.ones((n, 3, 16, 16), np.float32)}) for n in (1, 3))
    assert [3 * operator.macs for operator in one] == [operator.macs for operator in three]
