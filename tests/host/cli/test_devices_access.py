"""host devices check, unlock, logs, grant, revoke, as typed, with real agents and a board by SSH."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from edgepareto.agent.credentials import CredentialFolder
from edgepareto.agent.server import AgentServer
from edgepareto.host import api
from edgepareto.host.config import add_device, record_board
from edgepareto.host.credentials import Identity, issue_board_credentials, own_identity, read_card
from edgepareto.host.credentials.identity import make_identity
from edgepareto.host.deploy import agent_state, installed
from edgepareto.host.deploy.host_keys import fingerprint
from edgepareto.host.fleet.channel import channel_for, open_stub
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.certificates import Authority
from fakes.fake_agent import BOARD, DEVICE
from fakes.measuring import FakeMeasuring
from fakes.secured_agent import dial, profiler, secured_agent
from fakes.ssh_server import SshServer, make_key, running

INSTALL_SCRIPT = Path(__file__).parents[3] / "deploy" / "install-agent.sh"
BOARD_ID = "0a1b2c3d4e5f6071"
SUDO = """#!/bin/sh
while case $1 in -*) true;; *) false;; esac; do shift; done
exec env AS_ROOT=1 EDGEPARETO_ROOT={root} "$@"
"""
PROGRAMS = {
    "sudo": SUDO,
    "id": "#!/bin/sh\ncase $1 in -u) [ $AS_ROOT ] && echo 0 || echo 1000;; -Gn) echo pi adm;; *) echo pi;; esac\n",
    "journalctl": "#!/bin/sh\ncase $* in *_INVOCATION_ID=*) cat {root}/run-of-agent;; *) cat {root}/journal;; esac\n"
    "case $* in *--follow*) sleep 60;; esac\n",
    "systemctl": "#!/bin/sh\n[ $1 = show ] && cat {root}/unit\n",
}
RUNNING = "ActiveState=active\nSubState=running\nResult=success\n"
FAILED = "ActiveState=failed\nSubState=failed\nResult=exit-code\n"


def holder() -> str:
    """A search of ours."""
    return f"{own_identity().owner} net"


@dataclass
class InstalledBoard:
    """pi1, as `host deploy` leaves it: an agent with credentials, a shell, and the script that installed it."""

    root: Path
    server: SshServer
    agent: AgentServer

    @property
    def owners(self) -> Path:
        return self.root / "etc/edgepareto/credentials/owners"

    def journal(self, text: str) -> None:
        (self.root / "journal").write_text(text)

    def unit(self, text: str) -> None:
        (self.root / "unit").write_text(text)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture
def colleague(tmp_path: Path) -> Identity:
    make_identity(tmp_path / "bob", "bob@desk")
    return own_identity(tmp_path / "bob")


@pytest.fixture
def board(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InstalledBoard]:
    import paramiko

    me = own_identity()
    root = tmp_path / "board"
    credentials = root / "etc/edgepareto/credentials"
    (credentials / "owners").mkdir(parents=True)
    pair = issue_board_credentials(me, BOARD_ID)
    (credentials / "agent.key").touch(mode=0o640)
    (credentials / "agent.key").write_bytes(pair.key_pem)
    (credentials / "agent.pem").write_bytes(pair.certificate_pem)
    (credentials / "owners" / f"{me.owner}.pem").write_bytes(me.ca_pem)
    (root / "etc/edgepareto/agent.toml").touch()
    (root / "run").mkdir()
    programs = root / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text.replace("{root}", str(root)))
        (programs / name).chmod(0o755)
    (root / "opt/edgepareto").mkdir(parents=True)
    monkeypatch.setattr(installed, "BOARD_SCRIPT", shutil.copy(INSTALL_SCRIPT, root / "opt/edgepareto"))
    host_key = paramiko.PKey.from_path(make_key(home, "host_key"))
    key = paramiko.PKey.from_path(make_key(home / ".ssh", "id_ed25519"))
    agent = AgentServer(
        device=DEVICE, board=BOARD, state=root / "state", profile_batch=FakeMeasuring(),
        credentials=CredentialFolder(credentials),
    )  # fmt: skip
    address = agent.start("127.0.0.1:0")
    with running(SshServer(host_key=host_key, keys=[key.asbytes()], path=str(programs))) as server:
        made = InstalledBoard(root=root, server=server, agent=agent)
        made.journal("the agent serves\n")
        made.unit(RUNNING)
        entry = {
            "ssh": "pi@127.0.0.1",
            "port": server.port,
            "host_key": fingerprint(host_key.asbytes()),
            "address": address,
        }
        add_device("bench", entry)
        record_board(next(d for d in api.known_devices() if d.name == "bench"), board_id=BOARD_ID)
        yield made
    agent.stop()


@pytest.fixture
def held(board: InstalledBoard) -> Callable[[], None]:
    """Somebody of this user holds the board."""

    def hold() -> None:
        device = next(known for known in api.known_devices() if known.name == "bench")
        with channel_for(device) as channel:
            answer = open_stub(channel).AcquireLease(pb.AcquireLeaseRequest(owner=holder(), ttl_s=30))
        assert answer.granted

    return hold


def test_check_tells_who_holds_a_board(host, board, held) -> None:
    assert "held by" not in host("devices", "check", "bench").out
    held()
    done = host("devices", "check", "bench")
    assert done.code == 0
    assert f"bench: held by {holder()} (SHA256:" in done.out
    assert board.server.ran == []


def test_unlock_shows_the_holder_and_needs_a_yes(host, board, held) -> None:
    held()
    refused = host("devices", "unlock", "bench")
    assert refused.code == 2
    assert f"held by {holder()}" in refused.out
    assert "--yes" in refused.err
    assert "held by" in host("devices", "check", "bench").out
    done = host("devices", "unlock", "bench", "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, f"bench: is free, {holder()} lost it")
    again = host("devices", "unlock", "bench")
    assert (again.code, again.out) == (0, "bench: nobody holds it\n")


def test_unlock_of_an_agent_that_cannot_is_one_line(host, board, monkeypatch) -> None:
    from edgepareto.agent import wire
    from edgepareto.agent.servicer import ProfilerServicer
    from fakes.old_agent import speak_protocol

    for name in ("spoken_version", "device_info", "lease"):
        monkeypatch.setattr(wire, name, getattr(wire, name))
    from edgepareto.agent.lease import LeaseBook

    monkeypatch.setattr(LeaseBook, "acquire", LeaseBook.acquire)
    for name in ("Unlock", "ComputeOutputs"):  # put back when this test ends
        monkeypatch.setattr(ProfilerServicer, name, getattr(ProfilerServicer, name))
    speak_protocol(1)
    done = host("devices", "unlock", "bench", "--yes")
    assert done.code == 1
    assert "older than unlocking" in done.err
    assert len(done.err.splitlines()) == 1


def test_unlock_of_a_device_that_is_started_here_is_wrong_use(host, board) -> None:
    done = host("devices", "unlock", "pi1")
    assert done.code == 2
    assert "started here" in done.err


def test_logs_are_the_boards_journal(host, board) -> None:
    board.journal("first\nsecond\n")
    done = host("devices", "logs", "bench", "--lines", "7")
    if not Path("/run/systemd/system").is_dir():
        assert done.code == 1
        assert "bench: this board has no systemd and no /var/lib/edgepareto-agent/agent.log" in done.err
        return
    assert (done.code, done.out) == (0, "first\nsecond\n")


def test_logs_without_systemd_are_the_agents_file(host, board, monkeypatch) -> None:
    if Path("/run/systemd/system").is_dir():
        pytest.skip("this machine has systemd, so a board played by it has as well")
    monkeypatch.setattr(agent_state, "LOG_FILE", str(board.root / "journal"))
    board.journal("".join(f"line {number}\n" for number in range(10)))
    assert host("devices", "logs", "bench", "--lines", "2").out == "line 8\nline 9\n"


def test_a_granted_colleague_uses_the_board_and_a_revoked_one_does_not(
    host, board, colleague, tmp_path, monkeypatch
) -> None:
    ca = tmp_path / "bob.pem"
    ca.write_bytes(colleague.ca_pem)
    done = host("devices", "grant", "bench", "--ca", str(ca), "-o", str(tmp_path / "bench.card"))
    assert done.code == 0, done.err
    assert f"bob@desk SHA256:{colleague.fingerprint[:16]} may use it" in done.out
    card = read_card(tmp_path / "bench.card")
    assert (card.name, card.board_id) == ("bench", BOARD_ID)
    listed = host("devices", "revoke", "bench")
    assert [line.split()[0] for line in listed.out.splitlines()] == sorted([own_identity().owner, "bob@desk"])

    mine = os.environ["EDGEPARETO_CONFIG"]
    theirs = tmp_path / "their-config"
    theirs.mkdir()
    colleague.folder.rename(theirs / "credentials")
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(theirs))
    assert host("devices", "add", "bobs", "--card", str(tmp_path / "bench.card")).code == 0
    assert "ready" in host("devices", "check", "bobs").out
    monkeypatch.setenv("EDGEPARETO_CONFIG", mine)
    gone = host("devices", "revoke", "bench", "--owner", f"SHA256:{colleague.fingerprint[:16]}")
    assert (gone.code, gone.out.split(" may ")[0]) == (0, "bench: bob@desk")
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(theirs))
    refused = host("devices", "check", "bobs")
    assert refused.code == 1
    assert "does not let bob@desk" in refused.out
    assert refused.out.rstrip().endswith("not valid by its clock; its owner lets you in with host devices grant")


def test_who_would_revoke_themselves_must_mean_it(host, board, colleague) -> None:
    refused = host("devices", "revoke", "bench", "--owner", own_identity().owner)
    assert refused.code == 2
    assert "is you" in refused.err
    only = host("devices", "revoke", "bench", "--owner", own_identity().owner, "--yes")
    assert only.code == 1
    assert "only owner" in only.err
    assert len(list(board.owners.iterdir())) == 1


def test_an_owner_that_the_board_does_not_know_is_one_line_with_those_it_knows(host, board) -> None:
    done = host("devices", "revoke", "bench", "--owner", "eve")
    assert done.code == 2
    assert f"no single owner 'eve'; it knows {own_identity().owner}" in done.err


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda us: b"hello", "it has no line -----BEGIN CERTIFICATE-----"),
        (lambda us: us.ca_pem[:-60], "its certificate is cut off or damaged"),
        (lambda us: us.ca_pem.replace(b"\nM", b"\nN"), "its certificate is cut off or damaged"),
        (lambda us: us.certificate_pem, "must be the certificate of an authority"),
    ],
)
def test_a_grant_of_what_is_no_authority_reaches_no_board(host, board, tmp_path, content, why) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content(own_identity()))
    done = host("devices", "grant", "bench", "--ca", str(file))
    assert done.code == 2
    assert why in done.err
    assert "://" not in done.err
    assert "host devices identity -o makes it" in done.err
    assert board.server.ran == []


def test_a_name_that_another_owner_has_is_not_overwritten(host, board, colleague, tmp_path) -> None:
    ca = tmp_path / "bob.pem"
    ca.write_bytes(colleague.ca_pem)
    done = host("devices", "grant", "bench", "--ca", str(ca), "--as", own_identity().owner)
    assert done.code == 1
    assert "has an owner" in done.err
    assert next(board.owners.iterdir()).read_bytes() == own_identity().ca_pem


def test_check_finds_by_ssh_that_the_agent_failed_and_why(host, board) -> None:
    board.agent.stop()
    board.unit(FAILED)
    board.journal("-- Boot 1 --\nagent.toml:3: port 50051 is in use\n")
    done = host("devices", "check", "bench")
    assert done.code == 1
    assert "bench: by SSH: edgepareto-agent.service is failed (failed): agent.toml:3: port 50051 is in use" in done.out


def test_check_tells_what_the_agent_itself_said_last_and_how_it_is_repaired(host, board) -> None:
    board.agent.stop()
    own = "credentials/agent.key: cannot be read"
    refused = "refused a connection: it showed no certificate"
    of_systemd = (
        "edgepareto-agent.service: Main process exited, code=exited, status=2/INVALIDARGUMENT\n"
        "Failed to start edgepareto-agent.service - EdgePareto agent.\n"
        "edgepareto-agent.service: Consumed 3.514s CPU time.\n"  # said last
    )
    board.unit(FAILED)
    board.journal(f"{refused}\nStarting edgepareto-agent.service\n{own}\n{of_systemd}")
    done = host("devices", "check", "bench")
    assert f"by SSH: edgepareto-agent.service is failed (failed): {own}" in done.out
    assert "by SSH: next: host deploy bench, which repairs what it can, or on the board: sudo systemctl" in done.out
    assert "refused a connection" not in done.out
    assert "host devices check" not in done.out


def test_check_shows_no_refusal_of_an_earlier_run_of_the_agent(host, board) -> None:
    board.agent.stop()
    board.unit(f"{RUNNING}InvocationID={'0a' * 16}\n")
    board.journal("refused a connection: it showed no certificate\nserving\n")
    (board.root / "run-of-agent").write_text("serving\n")
    assert "its log ends with: serving" in (out := host("devices", "check", "bench").out)
    assert "refused a connection" not in out


def test_check_finds_by_ssh_that_we_are_not_among_the_owners(host, board, colleague) -> None:
    (board.owners / "bob.pem").write_bytes(colleague.ca_pem)
    (board.owners / f"{own_identity().owner}.pem").unlink()
    done = host("devices", "check", "bench")
    assert done.code == 1
    assert f"our authority SHA256:{own_identity().fingerprint[:16]} is not among its owners (bob SHA256:" in done.out


def test_check_tells_why_a_real_agent_refused_a_handshake(host, board, tmp_path, monkeypatch) -> None:
    """The agent's process, its own words, in the journal of a board."""
    board.agent.stop()
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)  # which every command of the host sets for itself
    with secured_agent(tmp_path / "real") as agent:
        for shown, why in (
            (None, "it showed no certificate"),
            (Authority().host("eve"), "its certificate is from no owner in the owners folder"),
        ):
            with dial(agent.address, agent.ann, shown) as channel, pytest.raises(grpc.RpcError):
                profiler(channel).GetDeviceInfo(pb.GetDeviceInfoRequest(), timeout=20)
            _until(lambda why=why: why in agent.log.read_text())
            board.journal(agent.log.read_text())
            done = host("devices", "check", "bench")
            assert f"by SSH: its log says why it refused a connection last: {why}" in done.out


def test_check_without_ssh_asks_no_shell_and_a_shell_that_fails_is_a_line(host, board) -> None:
    board.agent.stop()
    assert host("devices", "check", "bench", "--no-ssh").code == 1
    assert board.server.ran == []
    board.server.keys = []
    done = host("devices", "check", "bench")
    assert done.code == 1
    assert "bench: by SSH: pi@127.0.0.1" in done.out
    assert "does not let us in" in done.out


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
