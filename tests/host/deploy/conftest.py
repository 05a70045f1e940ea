"""A home of the test's own, a person who answers, and a board: a stand-in server, or a real sshd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
import pytest
from edgepareto.host.deploy import installed, preflight, wheelhouse
from edgepareto.host.deploy.host_keys import fingerprint
from edgepareto.host.deploy.ssh import SshTarget
from fakes.deployable_board import BOARD_SCRIPT, FACTS_SCRIPT
from fakes.ssh_server import SshServer, make_key, running


@dataclass
class Person:
    """Says yes, and these secrets in turn."""

    secrets: list[str] = field(default_factory=list)
    agrees: bool = True
    heard: list[str] = field(default_factory=list)

    def secret(self, prompt: str) -> str:
        self.heard.append(prompt)
        return self.secrets.pop(0) if self.secrets else ""

    def confirm(self, question: str) -> bool:
        self.heard.append(question)
        return self.agrees


@dataclass(frozen=True, kw_only=True)
class Board:
    target: SshTarget
    fingerprint: str
    server: SshServer
    home: Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(folder / "config"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture
def board(home: Path) -> Iterator[Board]:
    """Lets in whoever has ~/.ssh/id_ed25519."""
    make_key(home / ".ssh", "id_ed25519")
    host_key = paramiko.PKey.from_path(make_key(home, "host_key"))
    key = paramiko.PKey.from_path(home / ".ssh" / "id_ed25519")
    with running(SshServer(host_key=host_key, keys=[key.asbytes()])) as server:
        target = SshTarget(name="pi1", destination="pi@127.0.0.1", port=server.port)
        yield Board(target=target, fingerprint=fingerprint(host_key.asbytes()), server=server, home=home)


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine, for boards of fakes.deployable_board: their scripts, wheels without an index."""
    point_at_boards(home, monkeypatch)
    return home


def point_at_boards(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = home / "facts.sh"
    facts.write_text(FACTS_SCRIPT)
    monkeypatch.setattr(preflight, "SCRIPT", facts)
    monkeypatch.setattr(installed, "BOARD_SCRIPT", BOARD_SCRIPT)
    monkeypatch.setattr(wheelhouse, "agent_requirements", lambda: ("runtime>=1",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.chdir(home)
