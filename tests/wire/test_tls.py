"""Whom the host speaks to, and what it says where it is not let in: a real TLS server, real certificates."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from edgepareto.host.config import DeviceConfig
from edgepareto.host.credentials import (
    Identity,
    begin_rotation,
    certificates,
    credentials_folder,
    issue_board_credentials,
    mark_moved,
    own_identity,
)
from edgepareto.host.credentials.identity import make_identity
from edgepareto.host.errors import ConfigError, DeviceError, Refused, Unreachable
from edgepareto.host.fleet.channel import channel_for, open_channel
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

BOARD = "0a1b2c3d4e5f6071"
StartBoard = Callable[..., str]


@pytest.fixture(autouse=True)
def _configuration(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def stranger(tmp_path: Path) -> Identity:
    make_identity(tmp_path / "stranger", "bob@desk")
    return own_identity(tmp_path / "stranger")


@pytest.fixture
def start_board() -> Iterator[StartBoard]:
    """A server on a free port whose certificate is of `installer`; `owners` (CAs) may call it. None: plain text."""
    servers: list[grpc.Server] = []

    def start(installer: Identity | None, *owners: bytes, board_id: str = BOARD) -> str:
        server = grpc.server(ThreadPoolExecutor(2))
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        if installer is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            own = issue_board_credentials(installer, board_id)
            secure = grpc.ssl_server_credentials(
                [(own.key_pem, own.certificate_pem)], b"".join(owners), require_client_auth=True
            )
            port = server.add_secure_port("127.0.0.1:0", secure)
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


def pi1(address: str, **changed: object) -> DeviceConfig:
    return DeviceConfig(**{"name": "pi1", "address": address, "board_id": BOARD, **changed})  # type: ignore[arg-type]


def answers(device: DeviceConfig) -> bool:
    with channel_for(device) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_board_is_dialled_by_its_id_wherever_it_is(start_board: StartBoard):
    me = own_identity()
    assert answers(pi1(start_board(me, me.ca_pem)))


def test_a_colleagues_board_is_believed_by_the_authority_of_its_card(
    start_board: StartBoard, stranger: Identity, tmp_path: Path
):
    address = start_board(stranger, stranger.ca_pem, own_identity().ca_pem)
    with pytest.raises(Refused, match=r"not of the authority that .* trusts for this board"):
        channel_for(pi1(address))
    assert answers(pi1(address, trust=stranger.folder / "ca.pem"))


@pytest.mark.parametrize(
    ("moved", "in_use_at_the_board"), [(False, "current"), (True, "next"), (False, "next"), (True, "current")]
)
def test_while_a_rotation_is_open_a_board_is_reached_whichever_authority_it_knows(
    start_board: StartBoard, moved: bool, in_use_at_the_board: str
):
    rotation = begin_rotation()
    if moved:
        mark_moved(BOARD)
    known = rotation.current if in_use_at_the_board == "current" else rotation.next
    assert answers(pi1(start_board(known, known.ca_pem)))


def test_a_board_that_does_not_know_us_is_a_refusal_that_lists_the_causes(start_board: StartBoard, stranger: Identity):
    address = start_board(own_identity(), stranger.ca_pem)
    with pytest.raises(Refused) as told:
        channel_for(pi1(address))
    words = str(told.value)
    causes = ("never granted", "not the credentials it was installed with", "installed again", "not valid by its clock")
    places = [words.index(cause) for cause in causes]
    assert places == sorted(places)
    assert own_identity().owner in words
    assert "host devices check pi1" in words
    assert "\n" not in words


def test_a_certificate_that_ended_is_renewed_before_it_is_shown(start_board: StartBoard, monkeypatch):
    monkeypatch.setattr(certificates, "HOST_VALIDITY", timedelta(days=-1))
    folder = credentials_folder()
    folder.parent.mkdir()
    make_identity(folder, "ann@laptop")
    monkeypatch.undo()
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(folder.parent))
    assert answers(pi1(start_board(own_identity(), own_identity().ca_pem)))


def test_credentials_that_others_can_read_are_refused_before_anything_is_sent(start_board: StartBoard):
    address = start_board(own_identity(), own_identity().ca_pem)
    (credentials_folder() / "host.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600 "):
        channel_for(pi1(address))


def test_another_board_at_the_address_is_named(start_board: StartBoard):
    me = own_identity()
    address = start_board(me, me.ca_pem, board_id="feedfeed")
    with pytest.raises(Refused, match=f"another board answers, feedfeed instead of {BOARD}: addresses changed"):
        channel_for(pi1(address))


def test_an_agent_without_tls_is_sent_nothing(start_board: StartBoard):
    with pytest.raises(Refused, match=r"speaks no TLS, and nothing is sent in plain text: .*host deploy pi1"):
        channel_for(pi1(start_board(None)))


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that takes connections and does `answer` with each."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    connection, _ = door.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_nobody_there_is_unreachable_and_no_refusal(monkeypatch):
    with pytest.raises(Unreachable, match=r"pi1: no agent answers at 127\.0\.0\.1:9 \(Connection refused\)"):
        channel_for(pi1("127.0.0.1:9"))
    with pytest.raises(Unreachable, match="no agent answers at no-such-board"):
        channel_for(pi1("no-such-board.invalid:50051"))
    with (
        listening(lambda connection: connection.recv(1)) as address,
        pytest.raises(Unreachable, match="takes connections"),
    ):
        channel_for(pi1(address))
    monkeypatch.setattr("edgepareto.host.fleet.refusal.KNOCK_S", 0.2)
    with (
        listening(lambda connection: connection.settimeout(5) or exhaust(connection)) as address,
        pytest.raises(Unreachable, match="but nothing answers"),
    ):
        channel_for(pi1(address))


def exhaust(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def test_an_agent_that_ends_while_we_call_is_gone_and_has_not_refused_us(start_board: StartBoard, monkeypatch):
    """It hangs up after the handshake, as one that refuses us; asked again it is not there."""
    me = own_identity()
    own = issue_board_credentials(me, BOARD)
    server = grpc.server(ThreadPoolExecutor(1))
    refuses_all = grpc.ssl_server_credentials(
        [(own.key_pem, own.certificate_pem)], begin_rotation().next.ca_pem, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", refuses_all)
    server.start()
    monkeypatch.setattr("time.sleep", lambda _: server.stop(None).wait())
    with pytest.raises(Unreachable, match="no agent answers"):
        channel_for(pi1(f"127.0.0.1:{port}"))


def test_plain_text_is_spoken_on_this_machine_alone(start_board: StartBoard):
    assert answers(DeviceConfig(name="here", address=start_board(None)))
    for target in (
        "192.168.1.7:50051",
        "example.org:50051",
        "[2001:db8::1]:50051",
        "dns:///x:1",
        "127.0.0.1.evil.org:1",
    ):
        with pytest.raises(DeviceError, match="plain text never leaves this one"):
            open_channel(target)
    with pytest.raises(DeviceError, match="no agent was installed on it from here; host deploy pi1"):
        channel_for(DeviceConfig(name="pi1", ssh="pi@127.0.0.1", address="127.0.0.1:50051"))
