"""Whom the host speaks to, and what it says where it is not let in: the agent's own server, real certificates."""

from __future__ import annotations

import gc
import select
import socket
import ssl
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from edgepareto.agent.credentials import CredentialFolder
from edgepareto.agent.server import AgentServer
from edgepareto.host.config import DeviceConfig
from edgepareto.host.credentials import (
    Identity,
    begin_rotation,
    certificates,
    credentials_folder,
    dialling_order,
    finish_rotation,
    issue_board_credentials,
    mark_moved,
    own_identity,
)
from edgepareto.host.credentials.identity import make_identity
from edgepareto.host.errors import ConfigError, DeviceError, Refused, Unreachable
from edgepareto.host.fleet import probe
from edgepareto.host.fleet.channel import channel_for, open_channel, reason
from edgepareto.host.fleet.refusal import admitting
from fakes.fake_agent import BOARD, DEVICE
from fakes.measuring import FakeMeasuring

BOARD_ID = "0a1b2c3d4e5f6071"


@dataclass
class InstalledAgent:
    """folder: its credentials, as on a board; None: it has none and speaks plain text."""

    server: AgentServer
    address: str
    folder: Path

    @property
    def device(self) -> DeviceConfig:
        return pi1(self.address)

    def install(self, installer: Identity, board_id: str = BOARD_ID) -> None:
        _install(self.folder, installer, board_id)

    def grant(self, owner: Identity) -> None:
        _grant(self.folder, owner)

    def revoke(self, owner: Identity) -> None:
        (self.folder / "owners" / f"{owner.fingerprint}.pem").unlink()


StartAgent = Callable[..., InstalledAgent]


@pytest.fixture(autouse=True)
def _configuration(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def stranger(tmp_path: Path) -> Identity:
    make_identity(tmp_path / "stranger", "bob@desk")
    return own_identity(tmp_path / "stranger")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartAgent]:
    """An agent on a free port whose certificate is of `installer` (None: plain text); `owners` may use it."""
    servers: list[AgentServer] = []

    def start_agent(installer: Identity | None, *owners: Identity, board_id: str = BOARD_ID) -> InstalledAgent:
        place = tmp_path / f"board{len(servers)}"
        folder = place / "credentials"
        if installer is not None:
            (folder / "owners").mkdir(parents=True)
            _install(folder, installer, board_id)
            for owner in owners:
                _grant(folder, owner)
        server = AgentServer(
            device=DEVICE,
            board=BOARD,
            state=place / "state",
            profile_batch=FakeMeasuring(),
            credentials=None if installer is None else CredentialFolder(folder),
        )
        servers.append(server)
        return InstalledAgent(server, server.start("127.0.0.1:0"), folder)

    yield start_agent
    for server in servers:
        server.stop()


def _install(folder: Path, installer: Identity, board_id: str) -> None:
    own = issue_board_credentials(installer, board_id)
    (folder / "agent.key").touch(mode=0o640)
    (folder / "agent.key").write_bytes(own.key_pem)
    (folder / "agent.pem").write_bytes(own.certificate_pem)


def _grant(folder: Path, owner: Identity) -> None:
    (folder / "owners" / f"{owner.fingerprint}.pem").write_bytes(owner.ca_pem)


def pi1(address: str, **changed: object) -> DeviceConfig:
    return DeviceConfig(**{"name": "pi1", "address": address, "board_id": BOARD_ID, **changed})  # type: ignore[arg-type]


def answers(device: DeviceConfig) -> bool:
    return probe(device).board == "fake board"


def test_a_board_is_dialled_by_its_id_wherever_it_is(start: StartAgent):
    assert answers(start(own_identity(), own_identity()).device)


def test_a_colleagues_board_is_believed_by_the_authority_of_its_card(
    start: StartAgent, stranger: Identity, tmp_path: Path
):
    address = start(stranger, stranger, own_identity()).address
    with pytest.raises(Refused, match=r"not of the authority that .* trusts for this board"):
        channel_for(pi1(address))
    assert answers(pi1(address, trust=stranger.folder / "ca.pem"))


@pytest.mark.parametrize(
    ("moved", "in_use_at_the_board"), [(False, "current"), (True, "next"), (False, "next"), (True, "current")]
)
def test_while_a_rotation_is_open_a_board_is_reached_whichever_authority_it_knows(
    start: StartAgent, moved: bool, in_use_at_the_board: str
):
    rotation = begin_rotation()
    if moved:
        mark_moved(BOARD_ID)
    known = rotation.current if in_use_at_the_board == "current" else rotation.next
    assert answers(start(known, known).device)


def test_a_rotation_locks_nobody_out_at_any_step(start: StartAgent):
    old = own_identity()
    agent = start(old, old)
    new = begin_rotation().next
    assert answers(agent.device)
    agent.grant(new)
    assert answers(agent.device)
    agent.install(new)
    assert answers(agent.device)
    mark_moved(BOARD_ID)
    assert answers(agent.device)
    agent.revoke(old)
    assert answers(agent.device)
    finish_rotation(board_ids=[BOARD_ID])
    assert answers(agent.device)


def test_a_board_that_does_not_know_us_is_a_refusal_that_lists_the_causes(start: StartAgent, stranger: Identity):
    agent = start(own_identity(), stranger)
    with pytest.raises(Refused) as told:
        probe(agent.device)
    words = str(told.value)
    causes = ("never granted", "not the credentials it was installed with", "installed again", "not valid by its clock")
    places = [words.index(cause) for cause in causes]
    assert places == sorted(places)
    assert own_identity().owner in words
    assert "host devices check pi1" in words
    assert "\n" not in words


def test_a_certificate_that_ended_is_renewed_before_it_is_shown(start: StartAgent, monkeypatch):
    monkeypatch.setattr(certificates, "HOST_VALIDITY", timedelta(days=-1))
    folder = credentials_folder()
    folder.parent.mkdir()
    make_identity(folder, "ann@laptop")
    monkeypatch.undo()
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(folder.parent))
    assert answers(start(own_identity(), own_identity()).device)


def test_credentials_that_others_can_read_are_refused_before_anything_is_sent(start: StartAgent):
    agent = start(own_identity(), own_identity())
    (credentials_folder() / "host.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600 "):
        probe(agent.device)


def test_another_board_at_the_address_is_named(start: StartAgent):
    me = own_identity()
    agent = start(me, me, board_id="feedfeed")
    with pytest.raises(Refused, match=f"another board answers, feedfeed instead of {BOARD_ID}: addresses changed"):
        probe(agent.device)


def test_an_agent_without_tls_is_sent_nothing(start: StartAgent):
    with pytest.raises(Refused, match=r"speaks no TLS, and nothing is sent in plain text: .*host deploy pi1"):
        probe(start(None).device)


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
        try:
            yield f"127.0.0.1:{door.getsockname()[1]}"
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_nobody_there_is_unreachable_and_no_refusal(monkeypatch):
    with pytest.raises(Unreachable, match=r"pi1: no agent answers at 127\.0\.0\.1:9 \(Connection refused\)"):
        channel_for(pi1("127.0.0.1:9"))
    with pytest.raises(Unreachable, match="no agent answers at no-such-board"):
        channel_for(pi1("no-such-board.invalid:50051"))
    with pytest.raises(Unreachable, match=r"no agent answers at a\.\.b"):  # no name that can be looked up
        channel_for(pi1("a..b:50051"))
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


def test_a_connection_that_is_reset_before_the_handshake_leaves_no_socket_open(monkeypatch):
    goes_on = threading.Event()
    wrap = ssl.SSLContext.wrap_socket

    def reset(connection: socket.socket) -> None:
        goes_on.wait(5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wrap_late(context: ssl.SSLContext, plain: socket.socket, **options: bool) -> ssl.SSLSocket:
        goes_on.set()
        hung_up = select.poll()
        hung_up.register(plain, select.POLLHUP)  # so is one that is not connected yet
        assert hung_up.poll(5000)
        return wrap(context, plain, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap_late)
    with warnings.catch_warnings(record=True) as told, listening(reset) as address:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(Unreachable, match="Connection reset by peer"):
            channel_for(pi1(address))
        gc.collect()
    assert [str(warning.message) for warning in told] == []


@pytest.mark.parametrize(
    ("alert", "error", "words"),
    [(20, Unreachable, "BAD_RECORD_MAC"), (48, Refused, "never granted"), (45, Refused, "not valid by its clock")],
    ids=["a garbled record", "unknown CA", "expired"],
)
def test_an_alert_about_us_is_a_refusal_and_one_about_the_line_is_not(alert: int, error: type[Exception], words: str):
    def send_alert(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(bytes((21, 3, 3, 0, 2, 2, alert)))  # RFC 8446, 5.1 and 6: a fatal alert
        exhaust(connection)

    with listening(send_alert) as address, pytest.raises(error, match=words):
        channel_for(pi1(address))


@pytest.mark.parametrize("first", [b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03", b""], ids=["in a record", "silent"])
def test_a_board_that_drips_holds_nobody_longer_than_the_deadline(first: bytes, monkeypatch):
    monkeypatch.setattr("edgepareto.host.fleet.refusal.KNOCK_S", 0.5)

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(4096)
            connection.sendall(first)
            while connection.send(b"\x01") and not ended.wait(0.05):
                pass

    ended = threading.Event()
    began_s = time.monotonic()
    with listening(drip) as address:
        try:
            with pytest.raises(DeviceError):
                channel_for(pi1(address))
        finally:
            ended.set()
    assert time.monotonic() - began_s < 5


def test_credentials_that_change_while_a_board_is_dialled_are_no_fault_of_the_board(start: StartAgent, monkeypatch):
    """Another command ends a rotation between the reading of the credentials and the handshake."""
    agent = start(own_identity(), own_identity())
    begin_rotation()
    order = dialling_order(BOARD_ID, None)
    finish_rotation(board_ids=[])
    with pytest.raises(Unreachable, match="pi1: our credentials were replaced by another command just now"):
        admitting("pi1", agent.address, order)


def test_what_a_board_says_is_one_line_of_letters():
    class Forger(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.INTERNAL

        def details(self) -> str:
            return "a\n\x1b[2J" + "b" * 5000

    said = reason(Forger())
    assert said.startswith("a [2Jbb")
    assert len(said) <= 1000


def exhaust(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def test_an_agent_that_ends_while_we_call_is_gone_and_has_not_refused_us(
    start: StartAgent, stranger: Identity, monkeypatch
):
    """It hangs up after the handshake, as one that refuses us; asked again it is not there."""
    agent = start(own_identity(), stranger)
    monkeypatch.setattr("edgepareto.host.fleet.refusal.time.sleep", lambda _: agent.server.stop())
    with pytest.raises(Unreachable, match="no agent answers"):
        probe(agent.device)


def test_plain_text_is_spoken_on_this_machine_alone(start: StartAgent):
    assert answers(DeviceConfig(name="here", address=start(None).address))
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
    with pytest.raises(DeviceError, match="a board is dialled at HOST:PORT, where TLS says who it is"):
        channel_for(pi1("unix:/tmp/agent.sock"))
