from __future__ import annotations

import io

import numpy as np
import pytest
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.worker.kept_outputs import KeptOutputs


def test_every_output_comes_back_whole_whatever_its_name_and_type() -> None:
    random = np.random.default_rng(0)
    rows = [{"a/b:0": random.random((1, 3), dtype=np.float32), "n": np.int64(row)} for row in range(4)]
    kept = KeptOutputs(len(rows))
    for place, row in enumerate(rows):
        kept.keep(place, row)
    assert bytes(kept.packed()) == bytes(kept.packed())
    with np.load(io.BytesIO(kept.packed()), allow_pickle=False) as loaded:
        assert np.array_equal(loaded["a/b:0"], [row["a/b:0"] for row in rows])
        assert loaded["n"].tolist() == [0, 1, 2, 3]


def test_what_would_fill_the_boards_memory_is_refused_before_the_second_row() -> None:
    row = {"logits": np.zeros((1, 1024), np.float32)}
    KeptOutputs(32_768).keep(0, row)
    with pytest.raises(
        WorkerError, match=r"32769 rows take 134 MB, the board keeps at most 134 MB; ask for fewer rows"
    ):
        KeptOutputs(32_769).keep(0, row)


def test_outputs_that_no_score_could_compare_are_a_verdict() -> None:
    kept = KeptOutputs(2)
    kept.keep(0, {"boxes": np.zeros((5, 4))})
    with pytest.raises(WorkerError, match=r"boxes has shape \(6, 4\) for row 1 and \(5, 4\) for the first") as error:
        kept.keep(1, {"boxes": np.zeros((6, 4))})
    assert error.value.status is Status.LOAD_FAILED
    with pytest.raises(WorkerError, match="words holds text"):
        KeptOutputs(1).keep(0, {"words": np.array(["a"], dtype=object)})
