"""The whole probe against the cost models of every simulated board, with the noise of one job on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgepareto.agent.simulation.operators import list_operators
from edgepareto.agent.simulation.profile import BOARD_NAMES, load_profile
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import Status
from edgepareto.host.domain.learned_steps import KernelKind
from edgepareto.host.domain.staircase import REFERENCE_WIDTH
from edgepareto.host.errors import DeviceError, DeviceLost
from edgepareto.host.study.probe_models import input_shape, probe_model
from edgepareto.host.study.step_probe import learn_steps
from fakes.fake_fleet import FakeDevice

JOB_NOISE = 0.007  # as of a simulated board's jobs
PI = DeviceConfig(name="pi1", simulate="raspberry-pi-4b")


def learned(device: FakeDevice, folder: Path, config: DeviceConfig = PI):
    return learn_steps(device, config, preset="quick", folder=folder, on_progress=lambda text: None)


def cost_of(board: str, threads: int):
    table = load_profile(board).costs

    def cost_s(model: Path) -> float:
        kind = KernelKind(model.stem.rpartition("-")[0])
        feed = {"x": np.zeros(input_shape(kind), np.float32)}
        return table.latency_s(list_operators(model, feed), threads)

    return cost_s


@pytest.mark.parametrize("board", BOARD_NAMES)
@pytest.mark.parametrize("all_cores", [False, True])
def test_the_true_step_of_every_simulated_board_is_found_for_sure(board: str, all_cores: bool, tmp_path: Path) -> None:
    profile = load_profile(board)
    threads = profile.cpu_count if all_cores else 1
    device = FakeDevice(name="pi1", cost_s=cost_of(board, threads), noise=JOB_NOISE)
    found = learned(device, tmp_path)
    assert found.sure == dict.fromkeys(KernelKind, profile.costs.channel_step)
    assert len(device.asked) <= 30


def staircase_cost(step: int):
    def cost_s(model: Path) -> float:
        return 1e-4 + 1e-5 * -(-int(model.stem.rpartition("-")[2]) // step) * step

    return cost_s


@pytest.mark.parametrize("step", [1, 2, 16, 32])
def test_steps_that_no_board_of_ours_has_are_found_too(step: int, tmp_path: Path) -> None:
    found = learned(FakeDevice(name="pi1", cost_s=staircase_cost(step), noise=JOB_NOISE), tmp_path)
    assert found.sure == dict.fromkeys(KernelKind, step)


def test_a_board_too_noisy_to_tell_is_not_sure_and_the_probe_still_ends(tmp_path: Path) -> None:
    device = FakeDevice(name="pi1", cost_s=staircase_cost(2), noise=0.1)
    found = learned(device, tmp_path)
    assert found.sure == {}
    assert len(device.asked) <= 30


def test_the_probe_goes_on_after_a_batch_that_the_board_spoiled_and_without_a_job_that_failed(tmp_path: Path) -> None:
    spoiled = iter([Status.THROTTLED, Status.THROTTLED])

    def trouble(entry):
        if entry.candidate.startswith(f"conv_3x3-{REFERENCE_WIDTH}-"):
            return next(spoiled, None)
        return Status.OOM if entry.candidate.startswith("pointwise-25-") else None

    device = FakeDevice(name="pi1", cost_s=staircase_cost(8), noise=JOB_NOISE, trouble=trouble)
    found = learned(device, tmp_path)
    assert found.sure == dict.fromkeys(KernelKind, 8)
    widths = {probe.kind: set(probe.widths) for probe in found.probes}
    assert widths[KernelKind.CONV_3X3] == widths[KernelKind.DEPTHWISE] == widths[KernelKind.POINTWISE] | {25}


def test_a_board_that_measures_nothing_usable_or_is_lost_ends_the_probe_with_its_reason(tmp_path: Path) -> None:
    void = FakeDevice(name="pi1", trouble=lambda entry: Status.UNDERVOLTAGE)
    with pytest.raises(DeviceError, match=r"pi1: the step probe's conv_3x3 cannot be measured: UNDERVOLTAGE"):
        learned(void, tmp_path)
    with pytest.raises(DeviceLost, match="no answer"):
        learned(FakeDevice(name="pi1", batches_until_lost=2), tmp_path)


def test_the_models_of_a_kind_take_one_input_and_differ_in_channels_alone() -> None:
    for kind in KernelKind:
        narrow, wide = (probe_model(kind, channels) for channels in (7, 40))
        assert [node.op_type for node in narrow.graph.node] == [node.op_type for node in wide.graph.node]
        assert narrow.graph.input == wide.graph.input
        assert narrow.SerializeToString() == probe_model(kind, 7).SerializeToString()
