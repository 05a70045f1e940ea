"""Measuring models outside of any search: who says that he holds a board while he does."""

from __future__ import annotations

import getpass
from contextlib import contextmanager
from pathlib import Path

import pytest
from edgepareto.host import fleet
from edgepareto.host.api import profile

MODEL = Path(__file__).parents[3] / "examples" / "fashion_mnist" / "mobilenet.onnx"


def test_each_profile_holds_boards_under_a_name_of_its_own_also_for_a_user_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    owners: list[str] = []

    @contextmanager
    def connect(devices: object, *, owner: str, state: Path, **waiting: object):
        owners.append(owner)
        yield {}

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr(fleet, "connect", connect)
    for _ in range(2):
        assert profile([MODEL], devices=["127.0.0.1:9"]) == ()
    assert len(set(owners)) == 2  # the same owner would be given the other's lease
    assert all(owner.startswith("unknown@") for owner in owners)
