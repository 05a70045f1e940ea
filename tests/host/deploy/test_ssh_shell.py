"""Commands, root and files over SSH, at a stand-in server and at OpenSSH's own."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgepareto.host.deploy.ssh import Shell, SshTarget, open_shell
from edgepareto.host.errors import DeployError
from fakes.ssh_server import SSHD, has_sshd, running_sshd
from host.deploy.conftest import Board, Person

SUDO = """#!/bin/sh
non=; while case $1 in -*) true;; *) false;; esac; do
  case $1 in -n) non=1;; -p) shift;; esac; shift
done
[ -n "{rule}" ] && {{ echo "pi is not in the sudoers file." >&2; exit 1; }}
[ "$non" ] && {{ [ "{password}" ] && {{ echo "sudo: a password is required" >&2; exit 1; }}; exec env AS_ROOT=1 "$@"; }}
IFS= read -r given
[ "$given" = "{password}" ] || {{
  case $LC_ALL in de*) echo "sudo: 1 Fehlversuch";; *) echo "sudo: 1 incorrect password attempt";; esac >&2; exit 1; }}
exec env AS_ROOT=1 "$@"
"""


@pytest.fixture(params=["stand-in", "sshd"])
def shell(request: pytest.FixtureRequest, board: Board, tmp_path: Path) -> Iterator[Shell]:
    if request.param == "stand-in":
        with open_shell(board.target, ask=None, host_key=board.fingerprint) as opened:
            yield opened
        return
    if not has_sshd():
        pytest.skip(f"no {SSHD} on this machine; the stand-in server ran the same tests")
    authorized = board.home / ".ssh" / "id_ed25519.pub"
    user = pwd.getpwuid(os.getuid()).pw_name
    with running_sshd(tmp_path, authorized, board.home / "host_key") as port:
        target = SshTarget(name="pi1", destination=f"{user}@127.0.0.1", port=port)
        with open_shell(target, ask=None, host_key=board.fingerprint) as opened:
            yield opened


def test_a_command_gives_its_exit_code_and_both_outputs(shell: Shell) -> None:
    result = shell.run("echo out; echo err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_a_command_keeps_its_quotes_backslashes_lines_and_stdin(shell: Shell) -> None:
    script = "printf '%s|' \"it's\" 'a\\b' \"$HOME\" '!x'\n# a line of its own\ncat"
    assert shell.check(script, stdin=b"given\n\x00\xff").startswith("it's|a\\b|/")
    assert shell.check("cat", stdin=b"x" * 300_000) == "x" * 300_000


def test_what_a_board_says_does_not_steer_the_terminal(shell: Shell) -> None:
    assert shell.check("printf 'a\\tb\\033[2Jc\\r\\n'") == "a\tb?[2Jc?\n"
    assert list(shell.stream("printf 'x\\033[2J'")) == ["x?[2J"]


def test_a_folder_is_for_our_user_alone_and_goes_at_the_end(shell: Shell) -> None:
    with shell.folder() as folder:
        assert shell.check(f"stat -c '%a %u' {folder}") == f"700 {os.getuid()}\n"
        shell.upload([(b"secret", f"{folder}/a file")], lambda done, total: None)
        assert Path(folder, "a file").stat().st_mode & 0o777 == 0o600
    assert not Path(folder).exists()


def test_a_folder_goes_where_the_work_in_it_fails_and_where_the_connection_ends(shell: Shell) -> None:
    with pytest.raises(ZeroDivisionError), shell.folder() as folder:
        raise ZeroDivisionError
    assert not Path(folder).exists()
    with shell.folder() as folder:
        assert Path(folder).is_dir()
        shell._transport.close()
        _wait_until(lambda: not Path(folder).exists())


def test_a_program_that_is_not_wanted_any_more_is_ended(shell: Shell, tmp_path: Path) -> None:
    """By a signal, and waited for: it puts back what it did."""
    program = tmp_path / "program"
    program.write_text(
        f"trap 'sleep 0.3; touch {tmp_path}/ended; exit' TERM; touch {tmp_path}/started; while :; do sleep 0.1; done"
    )

    def heed() -> None:
        if (tmp_path / "started").exists():
            raise DeployError("stopped")

    with pytest.raises(DeployError, match="stopped"):
        list(shell.stream(f"sh {program}", heed=heed))
    assert (tmp_path / "ended").exists()


def test_the_administrators_folders_are_in_the_path_and_the_locale_is_c(shell: Shell) -> None:
    said = shell.check("echo $PATH; locale 2>/dev/null; echo $LC_ALL")
    assert "/usr/sbin:/sbin" in said.splitlines()[0]
    assert said.splitlines()[-1] == "C"


def test_a_command_that_fails_is_one_line_with_its_last_words(shell: Shell) -> None:
    with pytest.raises(DeployError, match=r"^pi1: echo first; .* ended with 3: the last$"):
        shell.check("echo first; echo the last >&2; exit 3")


def test_a_command_that_never_ends_is_left_at_its_deadline(shell: Shell) -> None:
    began = time.monotonic()
    with pytest.raises(DeployError, match="did not end within 0 s"):
        shell.check("sleep 60", timeout_s=0.3)
    assert time.monotonic() - began < 5
    assert shell.check("echo still there") == "still there\n"


def test_endless_output_is_bounded(shell: Shell) -> None:
    assert len(shell.check("head -c 9000000 /dev/zero | tr '\\0' x")) == 4 << 20


def test_a_stream_gives_lines_as_they_come_and_its_program_ends_with_it(shell: Shell, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\ntwo\n")
    lines = shell.stream(f"sh -c 'echo $$; exec tail -f {log}'")
    pid = int(next(lines))
    assert [next(lines), next(lines)] == ["one", "two"]
    with log.open("a") as more:
        more.write("three\n")
    assert next(lines) == "three"
    lines.close()
    until = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until, "tail lives on"
        time.sleep(0.02)


def test_a_stream_that_fails_says_why(shell: Shell) -> None:
    with pytest.raises(DeployError, match="No such file"):
        list(shell.stream("cat /no/such/file"))


def test_an_upload_arrives_whole_private_and_with_progress(shell: Shell, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(os.urandom(1_000_000))
    steps: list[tuple[int, int]] = []
    remote = tmp_path / "there"
    remote.mkdir()
    shell.upload(
        [(local, str(remote / "a b")), (b"secret", str(remote / "key"))],
        lambda done, total: steps.append((done, total)),
    )
    assert (remote / "a b").read_bytes() == local.read_bytes()
    assert (remote / "key").read_bytes() == b"secret"
    assert (remote / "key").stat().st_mode & 0o777 == 0o600
    assert steps[0] == (0, 1_000_006)
    assert steps[-1] == (1_000_006, 1_000_006)
    assert steps == sorted(steps)


def test_an_upload_to_nowhere_is_one_line(shell: Shell) -> None:
    with pytest.raises(DeployError, match=r"/no/such/folder/x cannot be written"):
        shell.upload([(b"x", "/no/such/folder/x")], lambda done, total: None)


@pytest.mark.parametrize("has_sftp", [True, False])
def test_an_upload_whose_connection_ends_blames_neither_room_nor_rights(
    board: Board, tmp_path: Path, has_sftp: bool
) -> None:
    board.server.has_sftp = has_sftp
    with open_shell(board.target, ask=None, host_key=board.fingerprint) as shell:

        def hang_up(done: int, total: int) -> None:
            if done:
                shell._transport.close()

        with pytest.raises(DeployError, match=r"the SSH connection broke \(.*\); run it again"):
            shell.upload([(os.urandom(4_000_000), str(tmp_path / "there"))], hang_up)


def test_a_board_without_sftp_gets_its_files_too(board: Board, tmp_path: Path) -> None:
    board.server.has_sftp = False
    with open_shell(board.target, ask=None, host_key=board.fingerprint) as shell:
        content = os.urandom(300_000)
        shell.upload([(content, str(tmp_path / "it's here"))], lambda done, total: None)
        assert (tmp_path / "it's here").read_bytes() == content
        assert (tmp_path / "it's here").stat().st_mode & 0o777 == 0o600
        with pytest.raises(DeployError, match=r"/no/such/folder/x cannot be written"):
            shell.upload([(content, "/no/such/folder/x")], lambda done, total: None)


@pytest.mark.parametrize("login_shell", ["/bin/csh", "/usr/bin/fish", "/bin/bash", "/bin/dash"])
def test_the_users_login_shell_does_not_matter(board: Board, login_shell: str) -> None:
    if not Path(login_shell).exists():
        pytest.skip(f"no {login_shell} on this machine")
    board.server.shell = login_shell
    with open_shell(board.target, ask=None, host_key=board.fingerprint) as shell:
        assert shell.check("for x in 'a\\b!' \"it's\"\ndo printf '%s\\n' \"$x\"; done") == "a\\b!\nit's\n"


@pytest.fixture
def with_sudo(board: Board, tmp_path: Path):
    """give(password, rule): a board whose user is not root and has such a sudo."""

    def give(password: str = "", rule: str = "") -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "sudo").write_text(SUDO.format(password=password, rule=rule))
        (folder / "id").write_text("#!/bin/sh\n[ $AS_ROOT ] && echo 0 || echo 1000\n")
        for program in ("sudo", "id"):
            (folder / program).chmod(0o755)
        board.server.path = str(folder)

    return give


def test_root_needs_no_password_where_sudo_asks_for_none(board: Board, with_sudo) -> None:
    with_sudo()
    with open_shell(board.target, ask=None, host_key=board.fingerprint) as shell:
        assert shell.check("id -u; cat", root=True, stdin=b"more") == "0\nmore"
        assert shell.check("id -u") == "1000\n"


def test_sudos_password_is_asked_for_once_goes_by_stdin_and_is_in_no_command(board: Board, with_sudo) -> None:
    with_sudo(password="hunter2")
    person = Person(secrets=["wrong", "hunter2"])
    with open_shell(board.target, ask=person, host_key=board.fingerprint) as shell:
        assert shell.check("id -u; cat", root=True, stdin=b"more") == "0\nmore"
        assert shell.check("id -u", root=True) == "0\n"
        assert list(shell.stream("id -u", root=True)) == ["0"]
    assert person.heard == ["pi1: sudo password of pi: "] * 2
    assert not any("hunter2" in command for command in board.server.ran)


def test_a_wrong_sudo_password_is_asked_for_three_times_and_then_one_line(board: Board, with_sudo) -> None:
    with_sudo(password="right")
    person = Person(secrets=["a-wrong-one"] * 5)
    with open_shell(board.target, ask=person, host_key=board.fingerprint) as shell:  # noqa: SIM117
        with pytest.raises(DeployError, match="did not accept the password of pi") as refusal:
            shell.check("id -u", root=True)
    assert len(person.heard) == 3
    assert "a-wrong-one" not in str(refusal.value)


def test_a_wrong_sudo_password_is_understood_on_a_board_that_speaks_german(board: Board, with_sudo) -> None:
    with_sudo(password="right")
    board.server.environment["LC_ALL"] = "de_DE.UTF-8"
    person = Person(secrets=["wrong", "right"])
    with open_shell(board.target, ask=person, host_key=board.fingerprint) as shell:
        assert shell.check("id -u", root=True) == "0\n"


def test_a_board_without_sudo_is_told_so(board: Board, with_sudo, tmp_path: Path) -> None:
    with_sudo()
    folder = tmp_path / "bin"
    (folder / "sudo").unlink()
    for program in ("sh", "dd", "env"):
        (folder / program).symlink_to(shutil.which(program) or "")
    board.server.path, board.server.environment["PATH"] = "", str(folder)
    with open_shell(board.target, ask=None, host_key=board.fingerprint) as shell:  # noqa: SIM117
        with pytest.raises(DeployError, match=r"pi1: has no sudo; use ssh root@\.\.\., or install sudo"):
            shell.check("id -u", root=True)


@pytest.mark.parametrize("person", [None, Person(secrets=["x"])])
def test_who_is_no_sudoer_is_told_so(board: Board, with_sudo, person: Person | None) -> None:
    with_sudo(password="x", rule="none")
    with open_shell(board.target, ask=person, host_key=board.fingerprint) as shell:  # noqa: SIM117
        with pytest.raises(
            DeployError,
            match=re.escape("not in the sudoers file.); an administrator of the board runs sudo usermod -aG sudo pi"),
        ):
            shell.check("id -u", root=True)


def test_a_script_is_told_that_sudo_wants_a_password(board: Board, with_sudo) -> None:
    with_sudo(password="x")
    with open_shell(board.target, ask=None, host_key=board.fingerprint) as shell:  # noqa: SIM117
        with pytest.raises(
            DeployError, match=r"at a terminal only; run this at one; if pi may not .* sudo usermod -aG sudo pi"
        ):
            shell.check("id -u", root=True)


def test_a_connection_that_breaks_in_a_command_is_one_line(board: Board, tmp_path: Path) -> None:
    with open_shell(board.target, ask=None, host_key=board.fingerprint) as shell:
        lines = shell.stream("sh -c 'echo on; sleep 60'")
        assert next(lines) == "on"
        board.server.transports[-1].close()
        with pytest.raises(DeployError, match="the SSH connection broke"):
            next(lines)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
