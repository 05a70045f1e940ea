"""Batches over real sockets: uploaded, measured once, answered whole."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from edgepareto.host.domain import DeviceName, ProfileTrace
from edgepareto.host.errors import DeviceLost
from edgepareto.host.fleet import ProfilerClient, blobs, connect, profiler_client
from edgepareto.host.fleet.channel import open_channel, open_stub
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.measuring import FakeMeasuring
from fakes.virtual_time import VirtualTime

PI1 = DeviceName("pi1")
DEADLINE_S = 20.0


@contextmanager
def connected(agent, state: Path, owner: str = "ann@desk study", **patience: object) -> Iterator[ProfilerClient]:
    with connect([agent.device], owner=owner, state=state, **patience) as clients:
        yield clients[PI1]


def quiet(_: str) -> None:
    pass


def answered(traces: tuple[ProfileTrace, ...]) -> list[str]:
    return [str(trace.candidate) for trace in traces]


@pytest.mark.parametrize("address", [None, "127.0.0.1:0"])
def test_a_batch_is_answered_anchor_first_then_in_the_order_asked(start_agent, files, tmp_path: Path, address):
    agent = start_agent(address=address)
    told: list[str] = []
    with connected(agent, tmp_path) as client:
        traces = client.profile(files.batch(candidates=5), told.append)
    assert answered(traces) == ["dense", "c0", "c1", "c2", "c3", "c4"]
    assert [trace.is_anchor for trace in traces] == [True] + [False] * 5
    assert traces[1].order_seed == 2**63 + 5
    assert "latency 1/5" in told or "latency 6/5" in told  # only the newest is told, and at least one


def test_the_same_key_is_never_measured_twice_also_after_the_agent_was_killed(
    start_agent_process, files, tmp_path: Path
):
    """T20: killed after the batch."""
    first = start_agent_process()
    with connected(first, tmp_path) as client:
        before = client.profile(files.batch(), quiet)
    assert first.measured() == ["study/pi1/0"]
    first.process.kill()
    first.process.wait()
    second = start_agent_process()
    with connected(second, tmp_path) as client:
        after = client.profile(files.batch(), quiet)
        client.profile(files.batch("study/pi1/1"), quiet)
    assert after == before
    assert second.measured() == ["study/pi1/1"]


def test_a_finished_result_can_be_fetched_by_its_key_without_a_lease(start_agent, files, tmp_path: Path):
    agent = start_agent()
    with connected(agent, tmp_path) as client:
        client.profile(files.batch(), quiet)
    with open_channel(agent.address) as channel:
        events = list(open_stub(channel).FetchResult(pb.FetchResultRequest(request_key="study/pi1/0"), timeout=5))
        assert events[-1].done.from_journal
        with pytest.raises(grpc.RpcError) as refusal:
            list(open_stub(channel).FetchResult(pb.FetchResultRequest(request_key="study/pi1/9"), timeout=5))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert "study/pi1/9" in refusal.value.details()


def test_a_key_that_was_used_for_another_batch_is_refused(start_agent, files, tmp_path: Path):
    with connected(start_agent(), tmp_path) as client:
        client.profile(files.batch(candidates=1), quiet)
        with pytest.raises(DeviceLost, match="request key study/pi1/0 was used for another batch"):
            client.profile(files.batch(candidates=2), quiet)


def test_only_what_the_agent_misses_is_uploaded(start_agent, files, tmp_path: Path):
    agent = start_agent()
    with connected(agent, tmp_path) as client:
        client.profile(files.batch(candidates=1), quiet)
        stored = {path.name: path.stat().st_ino for path in (agent.state / "blobs").iterdir()}
        client.profile(files.batch("study/pi1/1", candidates=2), quiet)
    now = {path.name: path.stat().st_ino for path in (agent.state / "blobs").iterdir()}
    assert now.items() >= stored.items()  # an upload would be another inode
    assert len(now) == len(stored) + 2


@pytest.mark.parametrize("damage", [Path.unlink, lambda blob: blob.write_bytes(b"flipped")])
def test_a_blob_that_the_agent_lost_in_the_meantime_is_sent_again(start_agent, files, tmp_path: Path, damage):
    agent = start_agent()
    with connected(agent, tmp_path) as client:
        client.profile(files.batch(candidates=1), quiet)
        damage(next(blob for blob in (agent.state / "blobs").iterdir() if blob.read_bytes() == b"model dense"))
        assert answered(client.profile(files.batch("study/pi1/1", candidates=1), quiet)) == ["dense", "c0"]


def test_a_model_of_six_megabytes_and_a_result_of_five_arrive_whole(start_agent, files, tmp_path: Path):
    files.model_bytes["c0"] = b"six megabytes" * (6 * 2**20 // 13)
    agent = start_agent(FakeMeasuring(runs_per_block=900_000))  # three bytes per run
    with connected(agent, tmp_path) as client:
        traces = client.profile(files.batch(candidates=1), quiet)
    assert [len(block.run_ns) for block in traces[1].blocks] == [900_000] * 2
    digest = hashlib.sha256(files.model_bytes["c0"]).hexdigest()
    assert (agent.state / "blobs" / digest).read_bytes() == files.model_bytes["c0"]


def test_a_model_for_which_the_board_has_no_room_is_said_so_before_it_is_sent(start_agent, files, tmp_path: Path):
    files.model_bytes["c0"] = bytes(3 << 20)
    agent = start_agent(blob_quota_bytes=1 << 20)
    with (
        connected(agent, tmp_path, time=VirtualTime()) as client,
        pytest.raises(DeviceLost, match="raise blob_quota_mb"),
    ):
        client.profile(files.batch(candidates=1), quiet)
    assert max(blob.stat().st_size for blob in (agent.state / "blobs").iterdir()) < 100


def test_a_corrupted_upload_is_refused_as_data_loss_and_leaves_nothing(start_agent):
    agent = start_agent()
    with open_channel(agent.address) as channel:
        stub = open_stub(channel)
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="ann", ttl_s=30), timeout=5)
        sound = b"one flipped byte"
        header = pb.BlobHeader(lease_id=lease.lease_id, sha256=hashlib.sha256(sound).hexdigest(), size_bytes=len(sound))
        upload = [pb.UploadBlobRequest(header=header), pb.UploadBlobRequest(data=b"one flipped bite")]
        with pytest.raises(grpc.RpcError) as refusal:
            stub.UploadBlob(iter(upload), timeout=5)
        assert refusal.value.code() is grpc.StatusCode.DATA_LOSS
        assert list((agent.state / "blobs").iterdir()) == []


def test_a_batch_goes_on_when_its_host_is_gone_and_is_joined_by_the_host_that_comes_back(
    start_agent, files, tmp_path: Path
):
    release = threading.Event()
    measuring = FakeMeasuring(held=lambda: not release.is_set())
    agent = start_agent(measuring)
    batch = files.batch()
    with ThreadPoolExecutor(2) as pool, connected(agent, tmp_path) as client:
        first = pool.submit(client.profile, batch, quiet)
        assert measuring.began.wait(DEADLINE_S)
        with connected(agent, tmp_path) as again:  # the same owner: takes its own lease over
            second = pool.submit(again.profile, batch, quiet)
            until(lambda: first.done() or len(measuring.measured) > 1 or waiting_readers(agent) > 1)
            release.set()
            assert answered(second.result(DEADLINE_S)) == ["dense", "c0", "c1"]
    assert measuring.measured == ["study/pi1/0"]


def test_another_batch_waits_until_the_board_is_free(start_agent, files, tmp_path: Path):
    release = threading.Event()
    measuring = FakeMeasuring(held=lambda: not release.is_set())
    with ThreadPoolExecutor(2) as pool, connected(start_agent(measuring), tmp_path) as client:
        first = pool.submit(client.profile, files.batch(), quiet)
        assert measuring.began.wait(DEADLINE_S)

        def on_progress(words: str) -> None:
            if words == "waiting for the board":
                release.set()

        client.profile(files.batch("study/pi1/1"), on_progress)
        assert answered(first.result(DEADLINE_S)) == ["dense", "c0", "c1"]
    assert measuring.measured == ["study/pi1/0", "study/pi1/1"]


def test_a_released_lease_cuts_the_batch_short_and_nothing_is_journalled(start_agent, files, tmp_path: Path):
    measuring = FakeMeasuring(held=lambda: True)
    agent = start_agent(measuring)
    with ThreadPoolExecutor(1) as pool:
        with connected(agent, tmp_path) as client:
            running = pool.submit(client.profile, files.batch(), quiet)
            assert measuring.began.wait(DEADLINE_S)
        with pytest.raises(DeviceLost):
            running.result(DEADLINE_S)
    assert measuring.cut_short.wait(DEADLINE_S)
    measuring.held = lambda: False
    with connected(agent, tmp_path) as client:
        client.profile(files.batch(), quiet)
    assert measuring.measured == ["study/pi1/0"] * 2


def test_a_lease_that_another_host_took_ends_the_search_on_this_board_with_its_name(start_agent, files, tmp_path: Path):
    agent = start_agent()
    told: list[str] = []
    with connected(agent, tmp_path, time=VirtualTime()) as client:
        # As if this machine had slept past its lease.
        client._line.stub.ReleaseLease(pb.ReleaseLeaseRequest(lease_id=client._lease.id), timeout=5)
        with connected(agent, tmp_path, owner="bob@desk other"), pytest.raises(DeviceLost, match="in use by bob@desk"):
            client.profile(files.batch(), told.append)
    assert told == ["held by bob@desk other, you are 1st in line"]


def test_a_lease_that_expired_is_taken_again_and_the_search_goes_on(start_agent, files, tmp_path: Path):
    with connected(start_agent(), tmp_path) as client:
        client._line.stub.ReleaseLease(pb.ReleaseLeaseRequest(lease_id=client._lease.id), timeout=5)
        assert answered(client.profile(files.batch(), quiet)) == ["dense", "c0", "c1"]


def test_a_profile_in_another_thread_ends_when_the_client_is_closed(start_agent, files, tmp_path: Path):
    measuring = FakeMeasuring(held=lambda: True)
    with ThreadPoolExecutor(1) as pool, connected(start_agent(measuring), tmp_path) as client:
        running = pool.submit(client.profile, files.batch(), quiet)
        assert measuring.began.wait(DEADLINE_S)
        client.close()
        with pytest.raises(DeviceLost, match=r"^pi1: "):
            running.result(DEADLINE_S)
        with pytest.raises(DeviceLost, match="closed"):
            client.profile(files.batch(), quiet)


def test_a_batch_may_last_any_time_while_it_gets_on_and_is_measured_once(
    start_agent, files, tmp_path: Path, monkeypatch
):
    monkeypatch.setitem(profiler_client.STEP_DEADLINE_S, "quick", 1.0)
    told: list[str] = []
    agent = start_agent()
    # Every step outlasts the deadline of the call that hears of it: it ends when the host has called again.
    agent.measuring.held = lambda: waiting_readers(agent) <= agent.server._servicer._run._progress.round
    with connected(agent, tmp_path) as client:
        assert answered(client.profile(files.batch(), told.append)) == ["dense", "c0", "c1"]
    assert agent.measuring.measured == ["study/pi1/0"]
    assert waiting_readers(agent) == 4
    assert len(set(told)) == len(told)


def test_a_batch_that_stands_still_is_a_lost_device(start_agent, files, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(profiler_client.STEP_DEADLINE_S, "quick", 0.5)
    agent = start_agent(FakeMeasuring(held=lambda: True))
    with connected(agent, tmp_path) as client, pytest.raises(DeviceLost, match=r"^pi1: its batch stands still at"):
        client.profile(files.batch(), quiet)


def test_a_call_that_timed_out_once_is_asked_again(start_agent, files, tmp_path: Path, monkeypatch):
    agent = start_agent()
    missing, late = agent.server._servicer._store.missing, threading.Event()

    def slow_at_first(wanted):
        if not late.is_set():
            late.set()
            threading.Event().wait(1.0)
        return missing(wanted)

    monkeypatch.setattr(agent.server._servicer._store, "missing", slow_at_first)
    with connected(agent, tmp_path) as client:
        monkeypatch.setattr(blobs, "CALL_DEADLINE_S", 0.5)
        assert answered(client.profile(files.batch(), quiet)) == ["dense", "c0", "c1"]
    assert late.is_set()


def test_a_killed_agent_is_a_lost_device_with_one_line_after_ten_minutes(start_agent_process, files, tmp_path: Path):
    agent = start_agent_process()
    agent.hold.touch()
    time = VirtualTime()
    with connected(agent, tmp_path, time=time) as client:

        def kill(_: str) -> None:
            agent.process.kill()

        with pytest.raises(DeviceLost, match=r"^pi1: lost in the middle of a batch: .*; looked for 60\d s in vain$"):
            client.profile(files.batch(), kill)
    assert 600 <= time.now_s() < 610


def test_an_agent_that_is_restarted_at_once_goes_on_without_the_study_noticing(
    start_agent_process, files, tmp_path: Path
):
    """T20: killed in the middle of the batch; the restarted agent measures it, once."""
    agent = start_agent_process()
    agent.hold.touch()
    restarted = []

    def kill_and_restart(_: str) -> None:
        if not restarted:
            agent.process.kill()
            agent.process.wait()
            agent.hold.unlink()
            restarted.append(start_agent_process())

    with connected(agent, tmp_path) as client:
        assert answered(client.profile(files.batch(), kill_and_restart)) == ["dense", "c0", "c1"]
    assert restarted[0].measured() == ["study/pi1/0"]


def test_an_agent_whose_measuring_has_a_bug_says_so_in_one_line(start_agent, files, tmp_path: Path, caplog):
    def broken() -> bool:
        raise KeyError("no such thing")

    with (
        connected(start_agent(FakeMeasuring(held=broken)), tmp_path) as client,
        pytest.raises(DeviceLost, match=r"^pi1: KeyError: 'no such thing'; see the agent's log$"),
    ):
        client.profile(files.batch(), quiet)
    assert "batch study/pi1/0 failed" in caplog.text


def until(condition: Callable[[], bool]) -> None:
    """Poll, with a deadline."""
    waited = threading.Event()
    for _ in range(int(DEADLINE_S / 0.01)):
        if condition():
            return
        waited.wait(0.01)
    pytest.fail("waited too long")


def waiting_readers(agent) -> int:
    return agent.server._servicer._run._readers
