"""The person at the terminal, whom SSH asks for passwords and decisions; nobody where stdin or stderr is none."""

from __future__ import annotations

import sys
import threading

import typer

__all__ = ["TerminalPerson", "person_here"]


class TerminalPerson:
    """One question at a time, also from several threads. What is secret is not echoed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def secret(self, prompt: str) -> str:
        import getpass

        with self._lock:
            return getpass.getpass(prompt)

    def confirm(self, question: str) -> bool:
        with self._lock:
            return typer.confirm(question, err=True)


def person_here() -> TerminalPerson | None:
    return TerminalPerson() if sys.stdin.isatty() and sys.stderr.isatty() else None
