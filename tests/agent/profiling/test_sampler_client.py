"""The agent's end of the sampler, against the real one on a simulated board and on a fake tree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power import MeterQuality, MeterSetting
from edgepareto.agent.profiling.sampler_client import SamplerClient, sampler_command
from edgepareto.agent.profiling.worker_client import DEADLINE
from edgepareto.agent.simulation import SimulatedBoard, create_board
from edgepareto.agent.worker.spawner import spawn
from fakes.power_trees import hwmon


def client_of(meter: MeterSetting, *, simulation: Path | None = None, sys_root: Path = Path("/")) -> SamplerClient:
    command = sampler_command(meter, simulation=simulation, cpu=None, sys_root=sys_root)
    return SamplerClient(command, spawn=spawn, deadline=DEADLINE, cancelled=lambda: False)


@pytest.fixture
def board(tmp_path: Path) -> SimulatedBoard:
    board = create_board("raspberry-pi-4b", tmp_path)
    board.clock.start_batch()
    return board


@pytest.fixture
def sampler(board: SimulatedBoard) -> Iterator[SamplerClient]:
    client = client_of(MeterSetting(kind="ina219"), simulation=board.folder)
    yield client
    client.kill()


def test_the_description_tells_the_range_once_it_is_fixed(board: SimulatedBoard, sampler: SamplerClient):
    assert sampler.tags == frozenset()
    sampler.wait_until_ready()
    assert sampler.description is not None
    assert sampler.description.config == 0x19DF
    sampler.begin(board.clock.now_ns())
    board.clock.sleep(0.5)
    sampler.fix_range(board.clock.now_ns())
    assert sampler.description.config == 0x09DF
    sampler.begin(board.clock.now_ns())
    board.clock.sleep(0.5)
    assert len(sampler.end(board.clock.now_ns()).power_uw) > 90


def test_a_range_that_cannot_be_fixed_leaves_the_widest_and_says_why(tmp_path: Path):
    board = create_board("raspberry-pi-4b", tmp_path, faults=["meter_clipped"])
    board.clock.start_batch()
    sampler = client_of(MeterSetting(kind="ina219"), simulation=board.folder)
    try:
        sampler.wait_until_ready()
        sampler.begin(0)
        board.clock.sleep(0.5)
        with pytest.raises(MeterError) as caught:
            sampler.fix_range(board.clock.now_ns())
    finally:
        sampler.kill()
    assert caught.value.status is MeterStatus.CLIPPED
    assert sampler.description is not None
    assert sampler.description.config == 0x19DF


def test_a_meter_is_named_by_chip_and_rail_below_a_root_of_its_own(tmp_path: Path):
    for number, watts in enumerate((1.0, 2.0)):
        files = {"power1_input": round(watts * 1e6), "in1_label": f"RAIL {number}", "update_interval": 5}
        hwmon(tmp_path, number, "ina226", files)
    sampler = client_of(MeterSetting(kind="hwmon", chip="ina226", rail="RAIL 1"), sys_root=tmp_path)
    try:
        sampler.wait_until_ready()
    finally:
        sampler.kill()
    assert sampler.description is not None
    assert (sampler.description.rail, sampler.description.quality) == ("ina226 hwmon1 RAIL 1", MeterQuality.MEASURED)
