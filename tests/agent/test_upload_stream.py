"""A client that stops in the middle of an upload holds nothing for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from edgepareto.agent import upload_stream
from edgepareto.agent.errors import RequestError, UploadCorrupt, UploadStalled
from edgepareto.agent.upload_stream import UploadStream
from edgepareto.profiler.v1 import profiler_pb2 as pb

DEADLINE_S = 10


def data(*pieces: bytes) -> list[pb.UploadBlobRequest]:
    return [pb.UploadBlobRequest(data=piece) for piece in pieces]


class Client:
    """Sends `pieces`, then nothing until the call ends, as gRPC's iterator does."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.taken = 0
        self.call_ended = threading.Event()

    def __iter__(self) -> Iterator[pb.UploadBlobRequest]:
        for message in data(*self._pieces):
            self.taken += 1
            yield message
        assert self.call_ended.wait(DEADLINE_S)


def test_everything_comes_in_its_order():
    pieces = [bytes([number]) * 1000 for number in range(50)]
    assert list(UploadStream(iter(data(*pieces))).chunks(50_000)) == pieces


def test_an_upload_that_falls_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(upload_stream, "SILENCE_S", 0.05)
    client = Client(b"a", b"b")
    chunks = UploadStream(iter(client)).chunks(10)
    assert [next(chunks), next(chunks)] == [b"a", b"b"]
    with pytest.raises(UploadStalled, match="did not come in time; send it again"):
        next(chunks)
    client.call_ended.set()


def test_an_upload_that_drips_is_given_up_however_long_it_goes_on(monkeypatch):
    monkeypatch.setattr(upload_stream, "GRACE_S", 0.0)
    monkeypatch.setattr(upload_stream, "SLOWEST_BYTES_PER_S", 100)
    ended = threading.Event()
    received: list[bytes] = []

    def dripping() -> Iterator[pb.UploadBlobRequest]:
        while not ended.wait(0.01):
            yield from data(b"a")

    with pytest.raises(UploadStalled):
        received.extend(UploadStream(dripping()).chunks(20))
    ended.set()
    assert 1 < len(received) < 25


def test_no_more_is_taken_in_than_the_disk_takes():
    client = Client(*[b"x"] * 100)
    stream = UploadStream(iter(client))
    chunks = stream.chunks(100)
    next(chunks)
    waited = threading.Event()
    while client.taken < 6 and not waited.wait(0.01):
        pass
    assert not waited.wait(0.1)
    assert client.taken == 6  # one was asked for, four are ahead, one is in the hand
    stream.close()
    client.call_ended.set()


def test_a_connection_that_ends_is_told_from_an_upload_that_ends():
    def cut() -> Iterator[pb.UploadBlobRequest]:
        yield from data(b"a")
        raise grpc.RpcError

    with pytest.raises(UploadCorrupt, match="the connection ended in the middle of an upload"):
        list(UploadStream(cut()).chunks(10))


def test_a_second_header_is_refused():
    with pytest.raises(RequestError, match="holds data only"):
        list(UploadStream(iter([pb.UploadBlobRequest(header=pb.BlobHeader())])).chunks(10))


def test_an_upload_without_a_header_holds_nothing_for_long(monkeypatch):
    monkeypatch.setattr(upload_stream, "SILENCE_S", 0.05)
    silent = Client()
    with pytest.raises(UploadStalled):
        UploadStream(iter(silent)).header()
    silent.call_ended.set()
    for first in ([], data(b"a")):
        with pytest.raises(RequestError, match="an upload starts with its header"):
            UploadStream(iter(first)).header()
