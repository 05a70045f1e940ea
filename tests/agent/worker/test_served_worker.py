"""The worker as its unit starts it: what it lets in, what it opens, and what it may take."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.worker import ChildGone, ServiceSpawn
from edgepareto.agent.worker.protocol import Failed, Load, Ready, decode_reply, encode
from edgepareto.agent.worker.service import ServedChild
from fakes.worker_service import serving_workers, worker_service_command

WORKER = ["python", "-m", "edgepareto.agent.worker"]
OPTIONS = RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider")
ARGUMENTS = ["--runtime", OPTIONS.name, "--threads", "1", "--provider", OPTIONS.provider, "--job", "c/search/0"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def socket_path(tmp_path: Path, store: Path) -> Iterator[Path]:
    with serving_workers(tmp_path / "worker.sock", worker_service_command(store), journal=tmp_path / "journal"):
        yield tmp_path / "worker.sock"


def never() -> bool:
    return False


def ready(socket_path: Path, *more: str) -> ServedChild:
    child = ServiceSpawn(socket_path)([*WORKER, *ARGUMENTS, *more])
    assert decode_reply(child.receive(60, never)) == Ready()
    return child


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--runtime", "onnxruntime"], "the following arguments are required"),
        ([*ARGUMENTS, "--preload", "evil.so"], "unrecognized arguments: --preload evil.so"),
        ([*ARGUMENTS, "-c", "print()"], "unrecognized arguments: -c"),
    ],
)
def test_only_a_workers_own_arguments_start_anything(socket_path: Path, argv: list[str], told: str) -> None:
    child = ServiceSpawn(socket_path)([*WORKER, *argv])
    with pytest.raises(ChildGone, match=told):
        child.receive(60, never)
    child.kill()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"GET / HTTP/1.1\n", "the first line is not JSON"),
        (b"[]\n", 'the first line is not {"argv"'),
        (b'{"argv": "--runtime"}\n', 'the first line is not {"argv"'),
        (b'{"argv": [1]}\n', 'the first line is not {"argv"'),
        (b"x" * 20000, "the first line has more than 16384 bytes"),
        (b"", "the connection ended before its first line"),
    ],
)
def test_what_is_no_request_ends_with_a_line_in_the_journal(
    socket_path: Path, tmp_path: Path, line: bytes, told: str
) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(socket_path))
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(60)
        with contextlib.suppress(ConnectionResetError):  # it did not read to the end
            assert connection.recv(1000) == b""
    assert (tmp_path / "journal").read_text().count("no worker was started: ") == 1
    assert told in (tmp_path / "journal").read_text()


@pytest.mark.parametrize("outside", ["/etc/passwd", "{store}/../secret", "{store}/link"])
def test_nothing_outside_of_the_agents_folder_is_opened(socket_path: Path, store: Path, outside: str) -> None:
    (store.parent / "secret").write_text("secret")
    (store / "link").symlink_to(store.parent / "secret")
    child = ready(socket_path)
    child.send(encode(Load(model=outside.format(store=store), inputs=str(store / "inputs.npz"))))
    answer = decode_reply(child.receive(60, never))
    assert isinstance(answer, Failed)
    assert f"is not below {store}, the only folder" in answer.message
    child.kill()


@pytest.mark.parametrize("folder", ["--board", "--engines"])
def test_a_folder_outside_of_the_agents_own_is_not_opened(folder: str, socket_path: Path, tmp_path: Path) -> None:
    child = ServiceSpawn(socket_path)([*WORKER, *ARGUMENTS, folder, str(tmp_path)])
    answer = decode_reply(child.receive(60, never))
    assert isinstance(answer, Failed)
    assert "is not below" in answer.message
    child.kill()


def test_a_worker_can_neither_gain_rights_nor_leave_a_core_nor_take_what_the_board_has(socket_path: Path) -> None:
    child = ready(socket_path)
    assert child.pid is not None
    status = Path(f"/proc/{child.pid}/status").read_text()
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"
    assert resource.prlimit(child.pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(child.pid, resource.RLIMIT_FSIZE) == (256 << 20, 256 << 20)
    total = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    mapped = re.search(r"^VmSize:\s+(\d+) kB", status, re.MULTILINE)
    assert total is not None
    assert mapped is not None
    soft, hard = resource.prlimit(child.pid, resource.RLIMIT_AS)
    assert soft == hard
    assert int(mapped[1]) << 10 < soft < (int(mapped[1]) + int(total[1])) << 10
    child.kill()


def test_a_worker_that_makes_engines_may_write_larger_files_and_no_worker_endless_ones(socket_path: Path) -> None:
    child = ready(socket_path, "--provider", "TensorrtExecutionProvider")
    assert child.pid is not None
    assert resource.prlimit(child.pid, resource.RLIMIT_FSIZE) == (1 << 30, 1 << 30)
    child.kill()


def test_a_request_starts_a_worker_that_knows_nothing_of_the_agents_environment(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the agent")
    child = ready(socket_path)
    assert b"SECRET" not in Path(f"/proc/{child.pid}/environ").read_bytes()
    assert json.dumps("of the agent").encode() not in Path(f"/proc/{child.pid}/cmdline").read_bytes()
    child.kill()


@pytest.mark.parametrize(
    ("first_line", "told"),
    [
        ("hello", "not its process id"),
        ('{"pid": -1}', "process -1 cannot be found"),
        ('{"pid": "1"}', "not an integer"),
    ],
)
def test_a_service_that_starts_something_else_is_told_as_such(tmp_path: Path, first_line: str, told: str) -> None:
    with serving_workers(tmp_path / "other.sock", [sys.executable, "-c", f"print({first_line!r})"]):
        child = ServiceSpawn(tmp_path / "other.sock")([*WORKER, *ARGUMENTS])
        with pytest.raises(ChildGone, match=told):
            child.receive(60, never)
        child.kill()


def test_a_process_of_another_user_is_not_taken_for_the_worker(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")  # what kill(2) says; a test may be root's

    monkeypatch.setattr("signal.pidfd_send_signal", refuse)
    child = ServiceSpawn(socket_path)([*WORKER, *ARGUMENTS])
    with pytest.raises(ChildGone, match=r"is another user's; .* need the same User="):
        child.receive(60, never)
    child.kill()


def test_a_service_manager_that_hangs_is_told_instead_of_waited_for(tmp_path: Path) -> None:
    with contextlib.ExitStack() as ending:
        listener = ending.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "worker.sock"))
        listener.listen(0)
        ending.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / "worker.sock"))
        with pytest.raises(ChildGone, match=r"worker\.sock: Resource temporarily unavailable; on the board, systemctl"):
            ServiceSpawn(tmp_path / "worker.sock")(WORKER)
