"""What a host says of its place in line."""

from __future__ import annotations

import pytest
from edgepareto.host.fleet.lease import _place
from edgepareto.profiler.v1 import profiler_pb2 as pb


@pytest.mark.parametrize(
    ("position", "words"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")]
)
def test_a_place_in_line_is_said_in_english(position: int, words: str):
    answer = pb.Lease(owner="bob@desk", queue_position=position)
    assert _place(answer) == f"held by bob@desk, you are {words} in line"
