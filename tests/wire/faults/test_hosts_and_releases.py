"""Who else wants the board, and agents of other releases."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from edgepareto.host.credentials.identity import make_identity
from edgepareto.host.domain import Deployment
from edgepareto.host.errors import DeviceError, DeviceLost, WrongProtocol
from edgepareto.host.fleet import lease, probe
from edgepareto.host.fleet.channel import open_channel, open_stub
from edgepareto.host.fleet.troubles import GIVEN_UP, MEASURED_ANEW
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.virtual_time import VirtualTime

from .conftest import ANSWERED, KEY, Board, StartBoard, Told, answered, connected, until, within

HOST = """\
import sys, time
from pathlib import Path
from edgepareto.host.config import DeviceConfig
from edgepareto.host.fleet import connect, lease
lease.TTL_S, lease.RENEW_EVERY_S = 3, 1.0
device = DeviceConfig(name="pi1", address=sys.argv[1])
with connect([device], owner="bob@desk study", state=None):
    print("held", flush=True)
    time.sleep(60)
"""

WAITING_HOST = """\
import signal, sys
from edgepareto.host.config import DeviceConfig
from edgepareto.host.fleet import connect
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
device = DeviceConfig(name="pi1", address=sys.argv[1])
with connect([device], owner="bob@desk study", state=None, tell=lambda text: print(text, flush=True)):
    print("held", flush=True)
"""


@pytest.fixture
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "POLL_S", 0.1)


def host_process(board: Board) -> subprocess.Popen[str]:
    """Of bob's, who holds the board; his lease lasts 3 s instead of 30."""
    process = subprocess.Popen([sys.executable, "-c", HOST, board.network.address], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_host_killed_in_a_search_frees_its_board_when_its_lease_ends(
    start_board: StartBoard, files, told: Told, tmp_path: Path, quick_polls: None
):
    board = start_board()
    bob = host_process(board)
    bob.kill()
    bob.communicate()
    waiting: list[str] = []
    began = time.monotonic()
    with connected(board, tmp_path, tell=waiting.append) as client:
        assert 1 < time.monotonic() - began < 3 + 3
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert waiting == ["pi1: held by bob@desk study, you are 1st in line"]


def test_a_users_dead_host_frees_its_board_within_ninety_seconds_and_before_others_give_up():
    assert lease.TTL_S + lease.POLL_S <= 90
    assert lease.TTL_S + lease.POLL_S < lease.WAIT_S


def test_the_same_owner_takes_its_own_board_over_at_once_after_its_host_was_killed(
    start_board: StartBoard, tmp_path: Path
):
    board = start_board()
    bob = host_process(board)
    bob.kill()
    bob.communicate()
    waiting: list[str] = []
    with within(2), connected(board, tmp_path, owner="bob@desk study", tell=waiting.append):
        pass
    assert waiting == []


def test_two_hosts_that_compete_measure_one_after_the_other_and_each_its_own_once(
    start_board: StartBoard, files, tmp_path: Path, quick_polls: None
):
    board = start_board()
    board.hold.touch()
    batches = {owner: files.batch(f"{owner}/0") for owner in ("ann", "bob")}
    waiting: list[str] = []
    one_waits = threading.Event()

    def search(owner: str) -> list[str]:
        told = Told()

        def wait_told(text: str) -> None:
            waiting.append(text)
            one_waits.set()

        with connected(board, tmp_path / owner, owner=owner, tell=wait_told) as client:
            return answered(told.profile(client, batches[owner]))

    with ThreadPoolExecutor(2) as pool, within(20):
        searches = [pool.submit(search, owner) for owner in batches]
        until(lambda: one_waits.is_set() and board.measured())
        first = board.measured()
        board.hold.unlink()
        assert [one.result(20) for one in searches] == [ANSWERED, ANSWERED]
    assert len(first) == 1
    assert sorted(board.measured()) == ["ann/0", "bob/0"]
    holder = first[0].partition("/")[0]
    assert waiting == [f"pi1: held by {holder}, you are 1st in line"]


def test_a_host_that_waits_for_nothing_leaves_no_place_in_line_behind(start_board: StartBoard, tmp_path: Path):
    """Else the free board is kept for it, and a script that asks again and again is never let in."""
    board = start_board()
    with (
        connected(board, tmp_path),
        pytest.raises(DeviceError, match=r"^pi1: in use by ann@laptop study; "),
        connected(board, tmp_path, owner="bob@desk", wait_s=0),
    ):
        pass
    with connected(board, tmp_path, owner="carl@desk", wait_s=0):
        pass


def test_a_host_that_waits_in_line_heeds_ctrl_c_at_once(start_board: StartBoard, tmp_path: Path):
    board = start_board()
    with connected(board, tmp_path):
        bob = subprocess.Popen(
            [sys.executable, "-c", WAITING_HOST, board.network.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert bob.stdout is not None
        assert bob.stdout.readline() == "pi1: held by ann@laptop study, you are 1st in line\n"
        with within(5):
            bob.send_signal(signal.SIGINT)
            _, words = bob.communicate()
    assert words.endswith("KeyboardInterrupt\n")


def test_a_board_that_was_unlocked_in_a_batch_is_left_to_who_did_it_with_their_name(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    board = start_board()
    board.hold.touch()

    def unlock() -> None:
        with open_channel(board.network.address) as dialled:
            open_stub(dialled).Unlock(pb.UnlockRequest(by="carol@desk"), timeout=5)

    told.when("latency", unlock)
    with connected(board, tmp_path) as client, within(10):
        with pytest.raises(DeviceLost, match=r"^pi1: unlocked by carol@desk"):
            told.profile(client, files.batch())
        board.tell("later 60")  # when the board would be given to us again
        with pytest.raises(DeviceLost, match=r"^pi1: unlocked by carol@desk"):
            told.profile(client, files.batch())
    assert told.outcomes == [GIVEN_UP, GIVEN_UP]
    assert board.measured() == [KEY]


def test_an_agent_of_protocol_version_1_measures_and_is_waited_for_without_a_line(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    board = start_board("--protocol", "1")
    waiting: list[str] = []
    with connected(board, tmp_path) as client:
        assert answered(told.profile(client, files.batch())) == ANSWERED
        with (
            pytest.raises(DeviceError, match=r"^pi1: in use by ann@laptop study; "),
            connected(board, tmp_path, owner="bob@desk", tell=waiting.append, time=VirtualTime()),
        ):
            pass
    assert waiting == ["pi1: held by ann@laptop study"]
    assert board.measured() == [KEY]


def test_an_agent_of_protocol_version_1_that_dies_in_a_batch_is_healed_as_any_other(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    board = start_board("--protocol", "1")
    board.hold.touch()
    told.when("latency", board.kill)
    told.when("gone for", lambda: (board.hold.unlink(), board.start_again()))
    with connected(board, tmp_path) as client, within(20):
        assert answered(told.profile(client, files.batch())) == ANSWERED
    assert told.outcomes == [MEASURED_ANEW]


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_agent_of_a_release_before_outputs_measures_and_is_told_to_be_upgraded_for_them(
    start_board: StartBoard, files, told: Told, tmp_path: Path, version: str
):
    board = start_board("--protocol", version)
    batch = files.batch()
    with connected(board, tmp_path) as client:
        assert answered(told.profile(client, batch)) == ANSWERED
        with pytest.raises(WrongProtocol) as refusal:
            client.outputs(batch.anchor.model, batch.inputs, Deployment())
    assert str(refusal.value) == (
        f"pi1: its agent 1.2.3 speaks protocol version {version}, outputs are computed from version 3 on; "
        "host deploy pi1 --upgrade"
    )


def test_an_agent_of_a_release_that_nobody_knows_is_refused_in_one_line(start_board: StartBoard):
    board = start_board("--protocol", "9")
    with pytest.raises(WrongProtocol) as refusal, within(5):
        probe(board.device)
    assert "this agent speaks 9; install the same edgepareto release on both" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--protocol", "9"), r"^pi1: .*this agent speaks 9; install the same edgepareto release on both$"),
        (("--board-id", "0ther"), r"^pi1: another board answers at 127\.0\.0\.1:\d+, 0ther instead of b0a4d; "),
    ],
)
def test_what_answers_after_a_cut_and_is_not_our_board_is_not_waited_for(
    start_board: StartBoard, files, told: Told, tmp_path: Path, options: tuple[str, ...], words: str
):
    board = start_board()
    board.hold.touch()
    told.when("latency", board.kill)
    told.when("gone for", lambda: board.start_again(*options))
    with connected(board, tmp_path) as client, within(15), pytest.raises(DeviceLost, match=words):
        told.profile(client, files.batch())
    assert told.outcomes == [GIVEN_UP]
    assert board.measured() == [KEY]


def test_a_host_whose_access_was_revoked_is_not_let_in_again_and_does_not_keep_asking(
    start_board: StartBoard, files, told: Told, tmp_path: Path
):
    board = start_board(secured=True)
    board.hold.touch()

    make_identity(tmp_path / "stranger", "eve@desk")

    def revoke() -> None:
        (board.credentials / "owners" / "ann.pem").write_bytes((tmp_path / "stranger" / "ca.pem").read_bytes())
        board.network.cut()
        board.network.mend()

    told.when("latency", revoke)
    time = VirtualTime()
    with (
        connected(board, tmp_path, time=time) as client,
        within(15),
        pytest.raises(DeviceLost, match=r"^pi1: the board at 127\.0\.0\.1:\d+ does not let "),
    ):
        told.profile(client, files.batch())
    assert time.now_s() < 60
    assert told.outcomes == [GIVEN_UP]
