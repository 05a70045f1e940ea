from __future__ import annotations

import base64
import getpass
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from edgepareto.agent.settings import read_settings
from edgepareto.host.credentials.certificates import make_authority, make_board_pair
from fakes.script_board import ScriptBoard, make_bundle

CA = make_authority("ann@desk")
PAIR = make_board_pair("board1", CA)
CREDENTIALS = {
    "agent.pem": PAIR.certificate_pem,
    "agent.key": PAIR.key_pem,
    "owners/ann@desk.pem": CA.certificate_pem,
}
SHELLS = [
    pytest.param(words, marks=pytest.mark.skipif(shutil.which(words.split()[0]) is None, reason="not installed here"))
    for words in ("dash", "busybox sh", "bash --posix")
]
# One call in each step of an installation; the last ones come when all files are written.
STEPS = [
    "python -m venv*",
    "python -I -c*install*",
    "python -m compileall*",
    "useradd*",
    "mktemp*credentials-*",
    "mv -T*credentials",
    "cp*agent.toml*",
    "mv*install-agent.sh",
    "mv -T*current",
    "cp*edgepareto-worker@.service*",
    "systemctl daemon-reload*",
    "systemctl enable*",
    "systemctl restart edgepareto-worker.socket",
    "systemctl restart edgepareto-agent.service",
]


@pytest.fixture
def board(tmp_path: Path) -> ScriptBoard:
    return ScriptBoard(tmp_path)


def bundle(board: ScriptBoard, release: str, **more: object) -> str:
    folder = board.fake / f"bundle-{release}"
    shutil.rmtree(folder, ignore_errors=True)
    return str(make_bundle(folder, release=release, interpreter=board.stub_python, **more))  # type: ignore[arg-type]


def fingerprint(pem: bytes) -> str:
    body = b"".join(line for line in pem.splitlines() if b"CERTIFICATE" not in line)
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def contents(board: ScriptBoard) -> dict[str, bytes]:
    """Of all files of ours, by path; without those that say all by being there."""
    found: dict[str, bytes] = {}
    for place in ("opt/edgepareto", "etc/edgepareto", "etc/systemd/system", "etc/udev"):
        for path in (board.root / place).rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size and path.name != "made-user":
                found[re.sub("credentials-[^/]*", "credentials", str(path.relative_to(board.root)))] = path.read_bytes()
    return found


def tiny_wheel(name: str, version: str, files: dict[str, str], *, script: str | None = None) -> tuple[str, bytes]:
    info = f"{name}-{version}.dist-info"
    contents = dict(files)
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if script is not None:
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script}\n"
    contents[f"{info}/RECORD"] = "".join(f"{entry},,\n" for entry in [*contents, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for entry, text in contents.items():
            archive.writestr(entry, text)
    return f"{name}-{version}-py3-none-any.whl", buffer.getvalue()


def pip_wheel() -> tuple[str, bytes]:
    """Made of the installed pip, which is what a wheel of it unpacks to."""
    found = metadata.distribution("pip")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                archive.write(found.locate_file(file), str(file))
    return f"pip-{found.version}-py3-none-any.whl", buffer.getvalue()


@pytest.mark.parametrize("shell", SHELLS)
def test_after_install_and_remove_nothing_is_left(tmp_path: Path, shell: str):
    board = ScriptBoard(tmp_path, shell=shell)
    before = board.listing()
    said = board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    assert said.splitlines()[-1] == "result installed 1.0-a"
    state = board.status()
    assert (state["installed"], state["active"], state["release"]) == ("yes", "yes", "1.0-a")
    board.ok("commit")
    (board.root / "var/tmp").mkdir()
    (board.root / "var/tmp/edgepareto-aB3dEf").mkdir()
    board.ok("remove")
    (board.root / "var/tmp").rmdir()
    assert board.listing() == before


def test_a_real_environment_is_made_from_the_bundle_alone(board: ScriptBoard):
    agent = tiny_wheel("edgepareto", "1.0", {"tiny_agent.py": "def main(): print('it runs')\n"},
                       script="edgepareto-agent = tiny_agent:main")  # fmt: skip
    pip = pip_wheel()
    folder = make_bundle(
        board.fake / "bundle",
        release="1.0-real",
        python="{}.{}".format(*sys.version_info),
        wheels=dict([agent, pip]),
        requirements=f"edgepareto==1.0 --hash=sha256:{hashlib.sha256(agent[1]).hexdigest()}\n",
    )
    board.ok("install", str(folder))
    program = board.root / "opt/edgepareto/current/bin/edgepareto-agent"
    assert subprocess.run([program], capture_output=True, text=True).stdout == "it runs\n"
    assert list((board.root / "opt/edgepareto/current").rglob("tiny_agent.*.pyc"))


def test_a_wheel_that_was_changed_on_the_way_is_refused(board: ScriptBoard):
    agent, pip = tiny_wheel("edgepareto", "1.0", {"tiny_agent.py": ""}), pip_wheel()
    before = board.listing()
    folder = make_bundle(
        board.fake / "bundle",
        release="1.0-real",
        python="{}.{}".format(*sys.version_info),
        wheels=dict([agent, pip]),
        requirements=f"edgepareto==1.0 --hash=sha256:{'0' * 64}\n",
    )
    done = board.run("install", str(folder))
    assert done.returncode == 1
    assert "the packages cannot be installed: THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    (folder / "wheels" / pip[0]).write_bytes(pip[1] + b"x")
    done = board.run("install", str(folder))
    assert done.returncode == 1
    assert "is not the file that was sent" in done.stderr
    assert board.listing() == before


def test_what_pip_keeps_for_a_while_goes_with_a_release_that_does_not_come_to_be(board: ScriptBoard):
    stopped = "import sys, tempfile\nsys.exit('ERROR: ' + tempfile.mkdtemp())"
    before = board.listing()
    folder = make_bundle(
        board.fake / "bundle",
        release="1.0-real",
        python="{}.{}".format(*sys.version_info),
        wheels=dict([tiny_wheel("pip", "1.0", {"pip/__init__.py": "", "pip/__main__.py": stopped})]),
        requirements="",
    )
    done = board.run("install", str(folder))
    place = Path(done.stderr.split("the packages cannot be installed: ")[1].strip())
    assert place.is_relative_to(board.root / "opt/edgepareto/releases/1.0-real")
    assert board.listing() == before


@pytest.mark.parametrize("step", STEPS)
def test_a_first_installation_that_fails_anywhere_leaves_the_board_as_it_was(board: ScriptBoard, step: str):
    before = board.listing()
    board.trip(step)
    done = board.run("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    assert board.was_tripped()
    assert done.returncode != 0
    assert board.listing() == before


@pytest.mark.parametrize("step", STEPS)
def test_an_upgrade_that_fails_anywhere_leaves_the_old_agent_running(board: ScriptBoard, step: str):
    if step == "useradd*":
        pytest.skip("the user is there already")
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    before = board.listing()
    board.trip(step)
    done = board.run("install", bundle(board, "2.0-b", credentials=CREDENTIALS, meter="ina219"))
    assert board.was_tripped()
    assert done.returncode != 0
    assert board.listing() == before
    assert board.status()["active"] == "yes"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_in_the_middle_puts_everything_back(board: ScriptBoard, how: signal.Signals):
    before = board.listing()
    board.trip("systemctl restart edgepareto-agent.service", hang=True)
    running = board.start("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    _wait_for(board.was_tripped)
    running.send_signal(how)
    running.communicate(timeout=30)
    assert running.returncode != 0
    assert board.listing() == before


def test_an_installation_that_was_killed_is_put_back_by_the_next_call(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    before = board.listing()
    board.dies_at("systemctl restart edgepareto-agent.service", "install", bundle(board, "2.0-b"))
    assert board.status()["installed"] == "partly"
    board.ok("commit")
    assert board.listing() == before


@pytest.mark.parametrize("step", [*STEPS[:3], *STEPS[4:], "sync*"])
def test_power_that_is_cut_anywhere_in_an_upgrade_costs_nothing(board: ScriptBoard, step: str):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    before = board.listing()
    board.dies_at(step, "install", bundle(board, "2.0-b", credentials=CREDENTIALS, meter="ina219"))
    board.loses_power()
    board.ok("commit")
    assert board.listing() == before
    board.ok("install", bundle(board, "2.0-b"))


@pytest.mark.parametrize(
    ("verb", "step"),
    [
        *[
            (verb, step)
            for verb in ("commit", "rollback")
            for step in ("rm -rf*/releases/*", "rm -rf*/before", "sync*")
        ],
        ("rollback", "cp -a*"),
    ],
)
def test_power_that_is_cut_while_an_upgrade_is_ended_leaves_one_whole_agent(board: ScriptBoard, verb: str, step: str):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    old = board.listing()
    board.ok("install", bundle(board, "2.0-b", meter="ina219"))
    board.dies_at(step, verb)
    board.loses_power()
    for name in ("installed", "files/etc/edgepareto/agent.toml"):
        if step.endswith("/before"):
            (board.root / "opt/edgepareto/before" / name).unlink(missing_ok=True)
    board.run("rollback")
    board.ok("commit")
    if verb == "rollback":
        assert board.listing() == old
    else:
        status = board.status()
        assert status | {"release": "2.0-b", "pending": "no", "installed": "yes"} == status
        assert 'kind = "ina219"' in (board.root / "etc/edgepareto/agent.toml").read_text()
    assert (board.root / "opt/edgepareto/current/bin/python").read_text()


@pytest.mark.parametrize("shell", SHELLS)
def test_files_that_a_power_cut_emptied_are_written_again_by_the_same_bundle(tmp_path: Path, shell: str):
    board = ScriptBoard(tmp_path, shell=shell)
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    whole = contents(board)
    for name in whole:
        os.truncate(board.root / name, 0)
    state = board.status()
    assert (state["installed"], state["release"], state["certificate"]) == ("partly", "", "")
    assert not [key for key in state if key.startswith("owner")]
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    assert contents(board) == whole
    assert board.status()["installed"] == "yes"


def test_each_file_that_was_emptied_is_a_reason_to_install_again(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    whole = contents(board)
    for name in whole:
        if "credentials" in name or name.startswith("opt/edgepareto/agent.toml") or name.endswith("agent.toml.example"):
            continue  # the first are the host's to look at, the others nothing depends on
        os.truncate(board.root / name, 0)
        assert "result installed 1.0-a" in board.ok("install", bundle(board, "1.0-a")), name
        board.ok("commit")
        assert contents(board) == whole


def test_a_key_that_was_emptied_is_told_as_a_certificate_that_cannot_be_read(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    os.truncate(board.root / "etc/edgepareto/credentials/agent.key", 0)
    assert board.status()["certificate"] == ""


@pytest.mark.parametrize("is_whole", [False, True])
def test_what_owners_are_told_to_be_outlives_an_upgrade_that_was_cut_off(board: ScriptBoard, is_whole: bool):
    bob = make_authority("bob@desk").certificate_pem
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    if is_whole:
        board.ok("install", bundle(board, "2.0-b"))
    else:
        board.dies_at("systemctl restart edgepareto-agent.service", "install", bundle(board, "2.0-b"))
    board.ok("grant", "bob@desk", stdin=bob)
    board.ok("revoke", "ann@desk")
    board.run("rollback")
    board.ok("commit")
    assert board.owners() == {"bob@desk": fingerprint(bob)}
    assert board.status()["release"] == ("2.0-b" if is_whole else "1.0-a")


def test_a_user_that_was_made_right_before_a_kill_goes_with_the_rest(board: ScriptBoard):
    before = board.listing()
    program = board.fake / "bin" / "useradd"
    program.write_text(program.read_text() + 'echo $$ > "$FAKE/hangs" && exec sleep 60\n')
    board.dies_at("none of all", "install", bundle(board, "1.0-a"))
    board.ok("remove")
    assert board.listing() == before


def test_a_disk_that_is_full_while_settings_are_written_is_a_failure(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    before = board.listing()
    (board.root / "opt/edgepareto/agent.toml.new").symlink_to("/dev/full")
    assert board.run("install", bundle(board, "2.0-b")).returncode != 0
    assert board.listing() == before


def test_what_cannot_be_put_back_is_kept_and_the_next_call_tries_again(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    before = board.listing()
    board.ok("install", bundle(board, "2.0-b", credentials=CREDENTIALS, meter="ina219"))
    board.trip("cp -a*etc/edgepareto")
    done = board.run("rollback")
    assert board.was_tripped()
    assert done.returncode == 1
    assert "not all could be put back" in done.stderr
    board.ok("commit")
    assert board.listing() == before


def test_a_record_of_the_new_release_that_is_empty_costs_no_other_release(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a"))
    board.ok("commit")
    board.ok("install", bundle(board, "2.0-b"))
    (board.root / "opt/edgepareto/before/new-release").write_text("")
    board.ok("rollback")
    assert board.status()["release"] == "1.0-a"
    assert (board.root / "opt/edgepareto/current/complete").exists()


def test_a_removal_that_was_cut_off_is_no_board_without_an_agent(board: ScriptBoard):
    before = board.listing()
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    board.trip("userdel*")
    assert board.run("remove").returncode != 0
    assert board.status()["installed"] == "partly"
    board.ok("remove")
    assert board.listing() == before


def test_folders_whose_names_have_spaces_cost_nobody_a_file(tmp_path: Path):
    board = ScriptBoard(tmp_path / "a board")
    (tmp_path / "a").write_text("somebody's")
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    assert (tmp_path / "a").exists()
    assert not list((board.root / "run").glob("edgepareto-*"))


def test_a_rollback_gives_back_release_settings_credentials_and_units(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    before = board.listing()
    board.ok("install", bundle(board, "2.0-b", meter="ina219"))
    assert board.status() | {"clock": ""} == board.status() | {"clock": "", "release": "2.0-b", "pending": "yes"}
    board.ok("rollback")
    assert board.listing() == before


def test_the_same_bundle_again_changes_nothing_and_says_so(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    board.calls()
    before = board.listing()
    said = board.ok("install", bundle(board, "1.0-a"))
    assert said.splitlines() == ["result unchanged 1.0-a"]
    assert board.listing() == before
    assert not [call for call in board.calls() if "restart" in call or "venv" in call]


def test_an_agent_that_does_not_run_is_no_reason_to_say_unchanged(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a"))
    board.ok("commit")
    (board.fake / "active-edgepareto-agent.service").unlink()
    assert "result installed 1.0-a" in board.ok("install", bundle(board, "1.0-a"))
    assert board.status()["active"] == "yes"


def test_an_upgrade_keeps_credentials_and_what_the_user_wrote(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    config = board.root / "etc/edgepareto/agent.toml"
    config.write_text(config.read_text() + "threads = 2\n")
    kept = config.read_text()
    said = board.ok("install", bundle(board, "2.0-b", meter="ina219"))
    board.ok("commit")
    assert "note /etc/edgepareto/agent.toml was changed by hand and is kept" in said
    assert config.read_text() == kept
    assert (board.root / "etc/edgepareto/credentials/agent.key").read_bytes() == PAIR.key_pem
    assert [path.name for path in (board.root / "opt/edgepareto/releases").iterdir()] == ["2.0-b"]


def test_settings_that_were_not_touched_follow_the_bundle(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a"))
    config = board.root / "etc/edgepareto/agent.toml"
    assert 'listen = "127.0.0.1:50051"' in config.read_text()
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS, meter="ina219", shunt_ohm="0.05", port="6000"))
    text = config.read_text()
    assert 'listen = "0.0.0.0:6000"' in text
    assert '[credentials]\nfolder = "/etc/edgepareto/credentials"' in text
    assert 'kind = "ina219"\nshunt_ohm = 0.05' in text


def test_the_unit_sees_the_devices_that_the_board_has_and_the_meter_needs(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", meter="ina219"))
    dropin = board.root / "etc/systemd/system/edgepareto-agent.service.d/50-board.conf"
    assert "DeviceAllow=/dev/i2c-1 rw" in dropin.read_text()
    board.ok("remove")
    board.ok("install", bundle(board, "1.0-a", meter="hwmon"))
    assert not dropin.exists()


def test_a_release_that_is_not_whole_is_none_and_made_anew(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a"))
    board.ok("commit")
    (board.root / "opt/edgepareto/releases/1.0-a/complete").unlink()
    assert board.status()["release"] == ""
    board.ok("install", bundle(board, "1.0-a"))
    assert board.status()["release"] == "1.0-a"


def test_a_user_that_was_there_before_stays(board: ScriptBoard):
    passwd = board.root / "etc/passwd"
    passwd.write_text(passwd.read_text() + "edgepareto:x:5:5::/:/bin/sh\n")
    (board.root / "etc/group").write_text("root:x:0:\nedgepareto:x:5:\n")
    before = board.listing()
    board.ok("install", bundle(board, "1.0-a"))
    board.ok("remove")
    assert board.listing() == before


def test_without_systemd_everything_but_the_start_is_done(tmp_path: Path):
    board = ScriptBoard(tmp_path, systemd=False)
    before = board.listing()
    said = board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    assert "start the agent with sudo /opt/edgepareto/start-agent" in said
    assert os.access(board.root / "opt/edgepareto/start-agent", os.X_OK)
    assert "[workers]" not in (board.root / "etc/edgepareto/agent.toml").read_text()
    board.ok("commit")
    board.ok("remove")
    assert board.listing() == before


def test_without_systemd_the_agents_words_are_kept_and_bounded(tmp_path: Path):
    board = ScriptBoard(tmp_path, systemd=False)
    board.ok("install", bundle(board, "1.0-a"))
    agent = board.root / "opt/edgepareto/current/bin/edgepareto-agent"
    agent.write_text('#!/bin/sh\nseq 1 25000\necho "$$ $*" >&2\n')
    agent.chmod(0o755)
    program = board.root / "opt/edgepareto/start-agent"
    program.write_text(program.read_text().replace("= edgepareto ]", f'= "{getpass.getuser()}" ]'))
    state = board.root / "var/lib/edgepareto-agent"
    running = subprocess.Popen(["sh", program], stderr=subprocess.PIPE, text=True)
    said = running.communicate(timeout=60)[1].splitlines()
    assert len(said) == 25_001
    pid, *words = said[-1].split()
    assert int(pid) == running.pid
    assert words[:2] == ["--config", str(board.root / "etc/edgepareto/agent.toml")]
    _wait_for(lambda: not (state / "log.pipe").exists())
    assert (state / "agent.log").read_text().splitlines() == said[20_000:]
    assert (state / "agent.log.1").read_text().splitlines() == said[10_000:20_000]


def test_owners_are_granted_named_and_revoked(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    bob = make_authority("bob@desk").certificate_pem
    board.ok("grant", "bob@desk", stdin=bob)
    assert board.owners() == {"ann@desk": fingerprint(CA.certificate_pem), "bob@desk": fingerprint(bob)}
    board.ok("revoke", "ann@desk")
    assert board.owners() == {"bob@desk": fingerprint(bob)}
    last = board.run("revoke", "bob@desk")
    assert last.returncode == 1
    assert "is the only owner" in last.stderr


@pytest.mark.parametrize(
    ("name", "pem", "words"),
    [
        ("../x", CA.certificate_pem, "a name is letters"),
        (".x", CA.certificate_pem, "a name is letters"),
        ("bob", CA.certificate_pem + CA.key_pem, "holds a private key"),
        ("bob", b"nonsense", "must be one certificate"),
        ("bob", CA.certificate_pem * 2, "must be one certificate"),
        ("bob", b"#" * 70_000 + CA.certificate_pem, "larger than the 64 KiB"),
    ],
)
def test_what_is_no_owner_is_refused_in_a_line(board: ScriptBoard, name: str, pem: bytes, words: str):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    before = board.listing()
    done = board.run("grant", name, stdin=pem)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert board.listing() == before


def test_a_new_certificate_comes_whole_or_not_at_all(board: ScriptBoard):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    folder = board.root / "etc/edgepareto/credentials"
    before = board.listing()
    assert board.run("credentials", stdin=packed({"agent.pem": PAIR.certificate_pem})).returncode == 1
    board.trip("mv -T*credentials")
    fresh = make_board_pair("board1", CA)
    new = packed({"agent.pem": fresh.certificate_pem, "agent.key": fresh.key_pem})
    assert board.run("credentials", stdin=new).returncode != 0
    assert {name: text for name, text in board.listing().items() if name in before} == before
    board.ok("credentials", stdin=new)
    assert (folder / "agent.pem").read_bytes() == fresh.certificate_pem
    assert (folder / "agent.key").read_bytes() == fresh.key_pem
    assert list(board.owners()) == ["ann@desk"]
    assert len(list(folder.parent.glob("*credentials*"))) == 2  # the link, and the folder behind it


def test_two_at_once_are_one_and_a_refusal(board: ScriptBoard):
    board.trip("systemctl restart edgepareto-agent.service", hang=True)
    first = board.start("install", bundle(board, "1.0-a"))
    _wait_for(board.was_tripped)
    second = board.run("remove")
    assert second.returncode == 1
    assert "another install-agent.sh is at work" in second.stderr
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)


def test_a_reader_that_goes_away_does_not_end_it_half_way(board: ScriptBoard):
    running = board.start("install", bundle(board, "1.0-a"))
    assert running.stdout is not None
    running.stdout.close()
    running.wait(timeout=60)
    assert running.stdin is not None
    assert running.stderr is not None
    running.stdin.close()
    running.stderr.close()
    assert board.status()["release"] == "1.0-a"
    assert board.status()["active"] == "yes"


def test_the_board_id_is_the_one_that_the_agent_tells(board: ScriptBoard):
    from edgepareto.agent.device_info import read_device_info

    told = read_device_info(board.root, default_threads=1, shares_host_cores=False).board_id
    assert board.status()["board_id"] == told
    (board.root / "proc/device-tree").mkdir(parents=True)
    (board.root / "proc/device-tree/serial-number").write_bytes(b"1000000012345678\0")
    told = read_device_info(board.root, default_threads=1, shares_host_cores=False).board_id
    assert board.status()["board_id"] == told


def _wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


CLOCK_UNITS = ("edgepareto-clocks.socket", "edgepareto-clocks@.service")


@pytest.mark.parametrize("shell", SHELLS)
def test_clock_modes_bring_roots_own_service_with_its_list_and_leave_with_it(tmp_path: Path, shell: str):
    board = ScriptBoard(tmp_path, shell=shell)
    units, settings = board.root / "etc/systemd/system", board.root / "etc/edgepareto"
    board.ok("install", bundle(board, "1.0-a", clock_modes="performance 1500MHz 7W"))
    assert all((units / unit).is_file() for unit in CLOCK_UNITS)
    assert (settings / "clock-modes").read_text() == "performance\n1500MHz\n7W\n"
    assert (settings / "clock-modes").stat().st_mode & 0o777 == 0o644
    agent = read_settings(["--config", str(settings / "agent.toml")]).clocks
    assert agent.modes == ("performance", "1500MHz", "7W")
    assert str(agent.socket) in (units / CLOCK_UNITS[0]).read_text()
    assert (units / "multi-user.target.wants" / CLOCK_UNITS[0]).is_symlink()
    assert "systemctl restart edgepareto-clocks.socket" in board.calls()
    assert not (units / "edgepareto-clocks@.service.d").exists(), "only a Jetson opens more of /sys"
    assert "unchanged" in board.ok("install", bundle(board, "1.0-a", clock_modes="performance 1500MHz 7W"))
    board.ok("commit")
    board.ok("install", bundle(board, "1.0-a"))
    assert not any((units / unit).exists() for unit in CLOCK_UNITS)
    assert not (settings / "clock-modes").exists()
    assert read_settings(["--config", str(settings / "agent.toml")]).clocks.modes == ()
    assert "systemctl stop edgepareto-clocks.socket" in board.calls()


def test_a_jetsons_clock_service_may_write_what_its_nvpmodel_writes(board: ScriptBoard):
    (board.root / "usr/sbin").mkdir(parents=True)
    (board.root / "usr/sbin/nvpmodel").touch()
    board.ok("install", bundle(board, "1.0-a", clock_modes="7W"))
    dropin = (board.root / "etc/systemd/system/edgepareto-clocks@.service.d/50-board.conf").read_text()
    # Of one path that is named as both, systemd takes the stricter: the unit's list must go, or /sys stays closed.
    assert dropin.splitlines()[1:] == [
        "[Service]",
        "ReadOnlyPaths=",
        "ReadOnlyPaths=/proc/sys",
        "ReadWritePaths=-/var/lib/nvpmodel",
    ]


@pytest.mark.parametrize("modes", ["7W;reboot", "../x", "7W -x", "*", '7W"', "$(id)", "a`id`"])
def test_a_clock_mode_that_is_no_name_installs_nothing(board: ScriptBoard, modes: str):
    before = board.listing()
    done = board.run("install", bundle(board, "1.0-a", clock_modes=modes))
    assert done.returncode == 1
    assert f"error: clock modes '{modes}': a name is letters, digits and . _ + -" in done.stderr
    assert board.listing() == before


@pytest.mark.parametrize("step", ["cp*edgepareto-clocks@.service*", "systemctl restart edgepareto-clocks.socket"])
def test_a_failure_where_clock_modes_come_in_puts_back_an_agent_without_them(board: ScriptBoard, step: str):
    board.ok("install", bundle(board, "1.0-a", credentials=CREDENTIALS))
    board.ok("commit")
    before = board.listing()
    board.trip(step)
    assert board.run("install", bundle(board, "2.0-b", clock_modes="7W")).returncode == 1
    assert board.was_tripped()
    assert board.listing() == before


def test_removing_leaves_nothing_of_clock_modes_and_puts_the_clocks_back_first(board: ScriptBoard):
    before = board.listing()
    board.ok("install", bundle(board, "1.0-a", clock_modes="7W"))
    (board.root / "var/lib/edgepareto-clocks").mkdir()
    (board.root / "var/lib/edgepareto-clocks/saved.json").touch()
    board.ok("commit")
    board.calls()
    board.ok("remove")
    calls = board.calls()
    stopped = calls.index("systemctl stop edgepareto-clocks@*.service")
    assert stopped < next(place for place, call in enumerate(calls) if "lib/edgepareto-clocks" in call)
    assert board.listing() == before


def test_without_systemd_nobody_sets_clock_modes(tmp_path: Path):
    board = ScriptBoard(tmp_path, systemd=False)
    board.ok("install", bundle(board, "1.0-a", clock_modes="7W"))
    assert "[clocks]" not in (board.root / "etc/edgepareto/agent.toml").read_text()
    assert not (board.root / "etc/edgepareto/clock-modes").exists()
