"""The agent's process and its board fail in the middle of a batch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from edgepareto.host.domain import Deployment, MeterStatus
from edgepareto.host.errors import DeviceLost
from edgepareto.host.fleet.troubles import FROM_JOURNAL, GIVEN_UP, MEASURED_ANEW, SENT_AGAIN
from fakes.models import classifier, save
from fakes.virtual_time import VirtualTime

from .conftest import ANSWERED, KEY, Board, StartBoard, Told, all_reported, answered, connected, until, within

YEAR_S = 365 * 24 * 3600


def test_an_agent_killed_in_a_batch_and_started_again_measures_it_anew_and_that_is_reported(
    board: Board, files, told: Told, tmp_path: Path
):
    board.hold.touch()
    told.when("latency", board.kill)
    told.when("gone for", lambda: (board.hold.unlink(), board.start_again()))
    with connected(board, tmp_path) as client, within(20):
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert board.measured() == [KEY, KEY]
    assert (told.kinds, told.outcomes) == (["agent-restarted"], [MEASURED_ANEW])


def test_a_board_rebooted_in_a_batch_is_no_loss_and_gets_what_its_disk_forgot(
    board: Board, files, told: Told, tmp_path: Path
):
    board.hold.touch()

    def boot() -> None:
        board.hold.unlink()
        shutil.rmtree(board.state / "blobs")
        board.start_again("--boot-id", "boot-2")

    told.when("latency", board.kill)
    told.when("gone for", boot)
    with connected(board, tmp_path) as client, within(20):
        traces = told.profile(client, files.batch())
        assert client.info.boot_id == "boot-2"
    assert answered(traces) == ANSWERED
    assert {trace.boot_id for trace in traces} == {"boot-2"}
    assert board.measured() == [KEY, KEY]
    assert (told.kinds, told.outcomes) == (["rebooted"], [MEASURED_ANEW])
    assert told.incidents[0].detail == "the board was started anew (boot boot-1, now boot-2)"


def test_a_result_that_was_journalled_before_the_agent_died_is_not_measured_again(
    start_board: StartBoard, files, told: Told, tmp_path: Path, quick_keepalive: float
):
    board = start_board()
    board.hold.touch()

    def finish_unheard() -> None:
        board.network.hold("down")
        board.hold.unlink()

    def die() -> None:
        until(board.journal)
        board.kill()
        board.network.mend()
        board.start_again()

    told.when("latency", finish_unheard)
    told.when("does not answer", die)
    with connected(board, tmp_path) as client, within(quick_keepalive + 15):
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert board.measured() == [KEY]
    assert told.outcomes == [FROM_JOURNAL]


def test_an_agent_that_dies_of_every_try_is_given_up_after_four(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    board = start_board()
    board.hold.touch()

    def die_again() -> None:
        board.kill()
        board.start_again()
        told.when("latency", die_again)

    told.when("latency", die_again)
    with (
        connected(board, tmp_path) as client,
        within(30),
        pytest.raises(DeviceLost, match=r"^pi1: UNAVAILABLE: .* \(4 times\)$"),
    ):
        told.profile(client, files.batch())
    assert board.measured() == [KEY] * 4
    assert told.outcomes == [MEASURED_ANEW] * 3 + [GIVEN_UP]
    assert all_reported(board, told)


def test_a_disk_that_is_full_for_a_moment_costs_a_pause(start_board: StartBoard, files, told: Told, tmp_path: Path):
    board = start_board()
    board.tell("disk full")
    time = VirtualTime()
    time.at(5, lambda: board.tell("disk free"))
    with connected(board, tmp_path, time=time) as client:
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert (told.kinds, told.outcomes) == (["disk-full"], [SENT_AGAIN])
    assert board.measured() == [KEY]


def test_a_disk_that_stays_full_is_a_lost_device_with_how_full_it_is(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    board = start_board()
    board.tell("disk full")
    time = VirtualTime()
    with (
        connected(board, tmp_path, time=time) as client,
        pytest.raises(DeviceLost, match=r"^pi1: the board's disk is too full: \d+ bytes asked for, \d+ free at "),
    ):
        told.profile(client, files.batch())
    assert time.now_s() == 5
    assert (told.kinds, told.outcomes) == (["disk-full", "lost"], [SENT_AGAIN, GIVEN_UP])
    assert board.measured() == []


def test_a_meter_lost_in_the_middle_leaves_latency_and_says_so(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    board = start_board()
    with connected(board, tmp_path) as client:
        told.profile(client, files.batch())
        assert told.incidents == []
        board.tell("meter lost")
        traces = told.profile(client, files.batch("study/pi1/1"))
    assert all(trace.blocks and trace.meter_status is MeterStatus.IO for trace in traces)
    assert [(told.kinds, told.incidents[0].detail)] == [(["meter-lost"], "its meter gave no energy: METER_IO")]


@pytest.mark.parametrize("seconds", [YEAR_S, -YEAR_S])
def test_a_board_whose_clock_jumps_by_a_year_in_a_batch_goes_on_as_if_nothing_was(
    board: Board, files, told: Told, tmp_path: Path, seconds: int
):
    board.hold.touch()

    def jump() -> None:
        board.tell(f"wall-clock {seconds}")
        board.hold.unlink()

    told.when("latency", jump)
    with connected(board, tmp_path) as client, within(10):
        before = told.profile(client, files.batch())
        assert client._lease.renew()
        board.network.cut()  # what comes back is checked by the board's clock, certificates too
        board.network.mend()
        assert told.profile(client, files.batch()) == before
    assert board.measured() == [KEY]
    assert all_reported(board, told)


def test_an_agent_killed_while_it_computes_outputs_is_asked_again_when_it_is_back(
    board: Board, told: Told, tmp_path: Path
):
    model, inputs = save(classifier(), tmp_path / "net.onnx"), tmp_path / "inputs.npz"
    x = np.random.default_rng(0).random((25_000, 1, 1, 2, 2), dtype=np.float32)  # in three steps or more
    np.savez(inputs, x=x)
    told.when("outputs of", board.kill)
    told.when("gone for", board.start_again)
    with connected(board, tmp_path) as client, within(60):
        seen = client.outputs(model, inputs, Deployment(), told.progress)
    assert "does not answer" in told.words
    assert told.words[-1] == "outputs of 25000 runs"
    assert np.array_equal(seen["logits"], x.reshape(-1, 1, 4)[:, :, :3])
