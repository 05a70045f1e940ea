"""The way between host and board fails: cut, slow, silent, false. The board itself is well."""

from __future__ import annotations

import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import DeviceName
from edgepareto.host.errors import DeviceLost, Unreachable
from edgepareto.host.fleet import connect
from edgepareto.host.fleet.channel import OPTIONS
from edgepareto.host.fleet.lease import HeldLease
from edgepareto.host.fleet.troubles import GIVEN_UP, MEASURED_ANEW, SENT_AGAIN, STOPPED, WENT_ON
from fakes.tcp_proxy import TcpProxy
from fakes.virtual_time import VirtualTime

from .conftest import ANSWERED, KEY, Board, StartBoard, Told, answered, connected, until, within

MEGABYTE = 1 << 20
MARKER = b"the byte that falls over"


def test_a_connection_cut_for_five_seconds_is_taken_up_again_and_the_batch_goes_on(
    board: Board, files, told: Told, tmp_path: Path
):
    time = VirtualTime()
    board.hold.touch()

    def cut() -> None:
        board.network.cut()
        time.at(5, board.network.mend)
        board.hold.unlink()

    told.when("latency", cut)
    with connected(board, tmp_path, time=time) as client, within(10):
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert 5 <= time.now_s() < 15  # the longest pause
    assert board.measured() == [KEY]
    assert told.kinds == ["connection-cut"]
    assert "it answered again after" in told.incidents[0].detail


def test_a_connection_cut_for_five_minutes_outlasts_the_lease_and_the_batch_is_measured_anew(
    board: Board, files, told: Told, tmp_path: Path
):
    time = VirtualTime()
    board.hold.touch()

    def cut() -> None:
        board.network.cut()
        board.tell("later 300")
        until(lambda: not board.tell("running"))

    def mend() -> None:
        assert client.is_looked_for
        board.hold.unlink()
        board.network.mend()

    told.when("latency", cut)
    time.at(300, mend)
    with connected(board, tmp_path, time=time) as client, within(20):
        assert answered(told.profile(client, files.batch())) == ANSWERED
        assert not client.is_looked_for
    assert 300 <= time.now_s() < 315
    assert board.measured() == [KEY, KEY]
    assert (told.kinds, told.outcomes) == (["connection-cut"], [MEASURED_ANEW])


def test_a_lease_that_its_own_thread_took_again_did_not_outlast_the_cut(
    start_board: StartBoard, files, told: Told, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("edgepareto.host.fleet.lease.RENEW_EVERY_S", 0.05)
    board = start_board()
    board.hold.touch()

    def cut() -> None:
        board.network.cut()
        board.tell("later 300")
        until(lambda: not board.tell("running"))

    def mend() -> None:
        before = client._lease.id
        board.hold.unlink()
        board.network.mend()
        until(lambda: client._lease.id != before)

    told.when("latency", cut)
    told.when("gone for", mend)
    with connected(board, tmp_path) as client, within(20):
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert board.measured() == [KEY, KEY]
    assert told.outcomes == [MEASURED_ANEW]


def test_a_connection_that_is_cut_while_a_lost_lease_is_taken_again_is_looked_for(
    start_board: StartBoard, files, told: Told, tmp_path: Path, monkeypatch
):
    board = start_board()
    acquire = HeldLease.acquire

    def cut_first(lease: HeldLease, **waiting: object) -> None:
        monkeypatch.setattr(HeldLease, "acquire", acquire)
        board.network.cut()
        lease.acquire(**waiting)

    told.when("does not answer", board.network.mend)
    with connected(board, tmp_path) as client, within(20):
        monkeypatch.setattr(HeldLease, "acquire", cut_first)
        board.tell("later 300")
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert board.measured() == [KEY]
    assert told.outcomes == [SENT_AGAIN]


def test_a_connection_cut_for_good_loses_the_device_after_ten_minutes(board: Board, files, told: Told, tmp_path: Path):
    time = VirtualTime()
    board.hold.touch()
    told.when("latency", board.network.cut)
    with (
        connected(board, tmp_path, time=time) as client,
        within(30),
        pytest.raises(
            DeviceLost, match=r"^pi1: lost in the middle of a batch: UNAVAILABLE: .*; looked for 60\d s in vain$"
        ),
    ):
        told.profile(client, files.batch())
    assert 600 <= time.now_s() < 610
    assert (told.kinds, told.outcomes) == (["lost"], [GIVEN_UP])


@pytest.mark.parametrize("moment", ["does not answer", "gone for"])
def test_who_stops_while_a_board_is_looked_for_ends_at_once_and_keeps_what_befell_it(
    start_board: StartBoard, files, told: Told, tmp_path: Path, moment: str
):
    board = start_board()
    board.hold.touch()
    told.when("latency", board.network.cut)
    with connected(board, tmp_path) as client, within(15):
        told.when(moment, client.close)
        with pytest.raises(DeviceLost, match=r"^pi1: the connection was closed$"):
            told.profile(client, files.batch())
    assert (told.kinds, told.outcomes) == (["connection-cut"], [STOPPED])
    assert "it had not answered again after" in told.incidents[0].detail


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_half_open_connection_is_noticed_and_the_batch_goes_on_when_it_opens_again(
    start_board: StartBoard, files, told: Told, tmp_path: Path, quick_keepalive: float, way
):
    board = start_board(secured=True)
    board.hold.touch()

    def open_again() -> None:
        board.network.mend()
        board.hold.unlink()

    told.when("latency", lambda: board.network.hold(way))
    told.when("does not answer", open_again)
    with connected(board, tmp_path) as client, within(quick_keepalive + 10):
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert board.measured() == [KEY]
    assert told.kinds == ["connection-cut"]


def test_a_peer_that_froze_is_noticed_and_goes_on_when_it_thaws(
    start_board: StartBoard, files, told: Told, tmp_path: Path, quick_keepalive: float
):
    board = start_board()
    board.hold.touch()

    def thaw() -> None:
        board.signal(signal.SIGCONT)
        told.when("latency", board.hold.unlink)

    told.when("latency", lambda: board.signal(signal.SIGSTOP))
    told.when("gone for", thaw)
    with connected(board, tmp_path) as client, within(quick_keepalive + 10):
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert board.measured() == [KEY]
    assert (told.kinds, told.outcomes) == (["connection-cut"], [WENT_ON])
    assert "ping timeout" in told.incidents[0].detail.lower()


def test_a_users_keepalive_notices_a_silent_board_within_fifteen_seconds():
    options = dict(OPTIONS)
    assert options["grpc.keepalive_time_ms"] + options["grpc.http2.ping_timeout_ms"] <= 15_000
    assert options["grpc.keepalive_timeout_ms"] <= options["grpc.http2.ping_timeout_ms"]


def test_a_black_hole_between_two_batches_is_a_board_that_is_looked_for_not_one_that_is_lost(
    start_board: StartBoard, files, told: Told, tmp_path: Path, quick_keepalive: float, monkeypatch
):
    monkeypatch.setattr("edgepareto.host.fleet.blobs.CALL_DEADLINE_S", 0.5)
    board = start_board()
    told.when("gone for", board.network.mend)
    with connected(board, tmp_path) as client, within(quick_keepalive + 10):
        board.network.hold()
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert board.measured() == [KEY]
    assert (told.kinds, told.outcomes) == (["connection-cut"], [SENT_AGAIN])


def test_boards_that_take_connections_and_say_nothing_are_told_side_by_side_within_one_deadline(
    start_board: StartBoard, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("edgepareto.host.fleet.channel.CALL_DEADLINE_S", 2.0)
    board = start_board()
    board.network.hold()
    silent = [replace(board.device, name=f"pi{number}") for number in range(1, 6)]
    with (
        within(2 + 2),
        pytest.raises(Unreachable, match=r"^pi\d: no agent answers at 127\.0\.0\.1:\d+ \(DEADLINE_EXCEEDED: "),
        connect(silent, owner="ann", state=tmp_path),
    ):
        pass


def test_boards_that_went_silent_are_given_back_side_by_side(start_board: StartBoard, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("edgepareto.host.fleet.lease.CALL_DEADLINE_S", 1.0)
    board = start_board()
    devices = [replace(board.device, name=f"pi{number}") for number in range(1, 6)]
    with within(1 + 3), connect(devices, owner="ann", state=tmp_path):
        board.network.hold()


def test_a_chunk_corrupted_on_its_way_is_sent_again(start_board: StartBoard, files, told: Told, tmp_path: Path):
    files.model_bytes["c0"] = _noise() + MARKER + _noise()
    board = start_board()
    with connected(board, tmp_path) as client:
        board.network.corrupt("up", marker=MARKER)
        assert answered(told.profile(client, files.batch())) == ANSWERED
        assert board.network.is_corrupted()
    assert (told.kinds, told.outcomes) == (["upload-corrupt"], [SENT_AGAIN])
    assert board.measured() == [KEY]


def test_a_chunk_corrupted_under_tls_ends_the_connection_and_is_sent_again_by_another(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    files.model_bytes["c0"] = _noise()
    board = start_board(secured=True)
    with connected(board, tmp_path) as client, within(15):
        board.network.corrupt("up", after_bytes=MEGABYTE // 2)
        assert answered(told.profile(client, files.batch())) == ANSWERED
        assert board.network.is_corrupted()
    assert (told.kinds, told.outcomes) == (["connection-cut"], [SENT_AGAIN])
    assert board.measured() == [KEY]


def test_a_way_that_corrupts_every_upload_is_given_up_after_four(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    files.model_bytes["c0"] = MARKER
    board = start_board()
    board.network.corrupt("up", marker=MARKER, always=True)
    with (
        connected(board, tmp_path) as client,
        pytest.raises(DeviceLost, match=r"^pi1: UPLOAD_CORRUPT: blob \w+: .*; send it again \(4 times\)$"),
    ):
        told.profile(client, files.batch())
    assert board.measured() == []
    assert told.outcomes == [SENT_AGAIN] * 3 + [GIVEN_UP]


def test_a_slow_way_costs_time_and_nothing_else(board: Board, files, told: Told, tmp_path: Path):
    files.model_bytes["c0"] = _noise()
    with connected(board, tmp_path) as client, within(20):
        board.network.slow(delay_s=0.02, bytes_per_s=4 * MEGABYTE)
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert board.measured() == [KEY]
    assert told.incidents == []


def test_a_connection_that_is_cut_in_every_step_measures_a_batch_once_as_long_as_it_gets_on(
    start_agent, files, told: Told, tmp_path: Path
):
    agent = start_agent(address="127.0.0.1:0")
    servicer = agent.server._servicer

    def held() -> bool:
        """Every step lasts until the host has joined the batch once more; the batch begins before it is known there."""
        run = servicer._run
        return run is None or run._readers <= run._progress.round

    agent.measuring.held = held
    with TcpProxy(agent.address) as network:

        def flap() -> None:
            network.cut()
            network.mend()

        for step in range(1, 7):
            told.when(f"latency {step}/", flap)
        device = DeviceConfig(name="pi1", address=network.address)
        with connect([device], owner="ann", state=tmp_path) as clients, within(20):
            traces = told.profile(clients[DeviceName("pi1")], files.batch(candidates=5))
    assert len(traces) == 6
    assert agent.measuring.measured == [KEY]
    assert told.kinds == ["connection-cut"] * 6
    assert MEASURED_ANEW not in told.outcomes


def _noise() -> bytes:
    """A megabyte that no layer can shorten; always the same."""
    return random.Random(0).randbytes(MEGABYTE)
