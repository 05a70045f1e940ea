"""What a connection may have to ask a person: whether a host key is right, and for passwords."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Ask"]


class Ask(Protocol):
    """A person at a terminal; absent (None) in scripts. What `secret` returns is never shown or kept."""

    def secret(self, prompt: str) -> str: ...
    def confirm(self, question: str) -> bool: ...
