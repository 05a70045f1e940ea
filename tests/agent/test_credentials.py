"""A folder of credentials is whole, or the agent says in one line what is wrong with it."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from edgepareto.agent import server as agent_server
from edgepareto.agent.credentials import CredentialFolder
from edgepareto.agent.errors import ConfigError
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.certificates import Authority, write_credentials
from fakes.fake_agent import fake_server
from fakes.measuring import FakeMeasuring
from fakes.secured_agent import dial, profiler

ANN = Authority()
DEADLINE_S = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_credentials(tmp_path / "credentials", ANN.board(), {"ann": ANN})


class Upload:
    """Of two bytes, the second after `rest` is set."""

    def __init__(self, lease_id: str) -> None:
        self._header = pb.BlobHeader(lease_id=lease_id, sha256=hashlib.sha256(b"ab").hexdigest(), size_bytes=2)
        self.rest = threading.Event()

    def messages(self) -> Iterator[pb.UploadBlobRequest]:
        yield pb.UploadBlobRequest(header=self._header)
        yield pb.UploadBlobRequest(data=b"a")
        assert self.rest.wait(DEADLINE_S)
        yield pb.UploadBlobRequest(data=b"b")


BROKEN = {
    "no certificate": (lambda f: (f / "agent.pem").unlink(), "agent.pem: cannot be read: No such file"),
    "no key": (lambda f: (f / "agent.key").unlink(), "agent.key: cannot be read: No such file"),
    "a key for everyone": (
        lambda f: (f / "agent.key").chmod(0o644),
        "agent.key: mode 0644 lets everyone at the board's private key; chmod 640 ",
    ),
    "another key": (
        lambda f: (f / "agent.key").write_bytes(ANN.board().key),
        "agent.key: are no certificate and its own private key (KEY_VALUES_MISMATCH)",
    ),
    "half a certificate": (
        lambda f: (f / "agent.pem").write_bytes(ANN.board().certificate[:200]),
        "are no certificate and its own private key",
    ),
    "nobody": (lambda f: (f / "owners" / "ann.pem").unlink(), "owners: holds no NAME.pem, so nobody could use"),
    "no CA": (
        lambda f: (f / "owners" / "bob.pem").write_bytes(ANN.host().certificate),
        "bob.pem: is no CA's certificate; the owner's ca.pem is wanted",
    ),
    "a folder": (lambda f: (f / "owners" / "bob.pem").mkdir(), "bob.pem: cannot be read: Is a directory"),
    "no PEM": (lambda f: (f / "owners" / "bob.pem").write_bytes(b"\xff\xfe"), "bob.pem: holds no certificate in PEM"),
    "a film": (lambda f: (f / "owners" / "bob.pem").write_bytes(bytes(70_000)), "bob.pem: is larger than the 64 KiB"),
    "a crowd": (
        lambda f: [(f / "owners" / f"{i}.pem").touch() for i in range(64)],
        "owners: holds 65 owners, wanted at most 64",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_folder_that_is_not_whole_is_refused_with_the_file_and_the_reason(folder: Path, case: str):
    change, said = BROKEN[case]
    change(folder)
    with pytest.raises(ConfigError) as refusal:
        CredentialFolder(folder)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_command_ends_with_that_line_before_it_listens(folder: Path, tmp_path: Path):
    (folder / "agent.key").chmod(0o604)
    config = tmp_path / "agent.toml"
    config.write_text(f'listen = "0.0.0.0:0"\nstate = "{tmp_path}"\n[credentials]\nfolder = "{folder}"\n')
    command = [sys.executable, "-m", "edgepareto.agent", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"edgepareto-agent: {folder}/agent.key: mode 0604 lets everyone")


def test_a_revoked_owner_loses_also_the_connection_that_it_has_and_a_running_call_keeps_its_own(
    folder: Path, tmp_path: Path, monkeypatch
):
    """Connections are made anew every few minutes, here every 0.2 s; what runs on an old one runs to its end."""
    monkeypatch.setattr(agent_server, "CONNECTION_AGE_MS", 200)
    bob = Authority("bob")
    write_credentials(folder, ANN.board(), {"bob": bob})
    ask = pb.GetDeviceInfoRequest(protocol_version=2)
    server = fake_server(tmp_path / "state", FakeMeasuring(), credentials=CredentialFolder(folder))
    address = server.start("127.0.0.1:0")
    with dial(address, ANN, bob.host()) as bobs, dial(address, ANN, ANN.host()) as anns:
        profiler(bobs).GetDeviceInfo(ask, timeout=DEADLINE_S)
        lease = profiler(anns).AcquireLease(pb.AcquireLeaseRequest(owner="ann@desk", ttl_s=60), timeout=DEADLINE_S)
        sending = Upload(lease.lease_id)
        with ThreadPoolExecutor(1) as pool:
            upload = pool.submit(profiler(anns).UploadBlob, sending.messages(), timeout=DEADLINE_S)
            (folder / "owners" / "bob.pem").unlink()
            asks = (profiler(bobs).GetDeviceInfo.with_call(ask, timeout=DEADLINE_S) for _ in itertools.count())
            with pytest.raises(grpc.RpcError) as refusal:
                deque(asks, maxlen=0)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            sending.rest.set()
            assert upload.result(DEADLINE_S).size_bytes == 2
    server.stop()


def _gone(owner: Path) -> None:
    owner.unlink()


def _half(owner: Path) -> None:
    owner.write_bytes(owner.read_bytes()[:200])


@pytest.mark.parametrize("revoke", [_gone, _half])
@pytest.mark.parametrize("others", ["none", "whole", "broken", "all of another agent's"])
def test_whose_file_is_gone_or_not_whole_gets_in_no_more_whatever_else_is_wrong(
    folder: Path, tmp_path: Path, others: str, revoke: Callable[[Path], None], caplog: pytest.LogCaptureFixture
):
    server = fake_server(tmp_path / "state", FakeMeasuring(), credentials=CredentialFolder(folder))
    address = server.start("127.0.0.1:0")
    bob = Authority("bob")
    if others == "whole":
        write_credentials(folder, ANN.board(), {"bob": bob})
    elif others == "broken":
        (folder / "owners" / "bob.pem").mkdir()
    elif others == "all of another agent's":
        (folder / "agent.key").write_bytes(bob.board().key)
    assert lets_in(address, ANN)
    revoke(folder / "owners" / "ann.pem")
    assert not any(lets_in(address, ANN) for _ in range(3))
    assert lets_in(address, bob) == (others == "whole")
    complaints = [record.message for record in caplog.records if "were changed" in record.message]
    assert len(complaints) == len(set(complaints)), "each is told once"
    write_credentials(folder, ANN.board(), {"ann": ANN})
    assert lets_in(address, ANN)
    server.stop()


def lets_in(address: str, owner: Authority) -> bool:
    with dial(address, ANN, owner.host()) as channel:
        try:
            profiler(channel).GetDeviceInfo(pb.GetDeviceInfoRequest(protocol_version=2), timeout=DEADLINE_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return False
            raise
    return True


def test_beside_tls_the_agents_own_socket_answers_health_and_nothing_else(folder: Path, tmp_path: Path):
    """A worker runs as the same user and must not come in by the back door."""
    tmp_path.chmod(0o700)
    server = fake_server(tmp_path / "state", FakeMeasuring(), credentials=CredentialFolder(folder))
    answers = server.answers_on(tmp_path / "health.sock", timeout_s=DEADLINE_S)
    server.start("127.0.0.1:0")
    assert answers()
    with grpc.insecure_channel(f"unix:{tmp_path}/health.sock") as channel, pytest.raises(grpc.RpcError) as refusal:
        profiler(channel).Unlock(pb.UnlockRequest(by="worker"), timeout=DEADLINE_S)
    assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "without TLS it answers nothing but its health" in refusal.value.details()
    server.stop()
    assert not answers()


def test_a_name_that_would_forge_a_line_of_the_log_is_no_hosts(folder: Path, tmp_path: Path):
    server = fake_server(tmp_path / "state", FakeMeasuring(), credentials=CredentialFolder(folder))
    address = server.start("127.0.0.1:0")
    with dial(address, ANN, ANN.host("ann\n2026 ERROR")) as channel, pytest.raises(grpc.RpcError) as refusal:
        profiler(channel).Unlock(pb.UnlockRequest(by="x"), timeout=DEADLINE_S)
    assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
    server.stop()
