"""Reads a line that another process wrote as one JSON object, and believes nothing about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import TypeGuard, TypeVar

from edgepareto.agent.errors import AgentError

__all__ = ["JsonFields", "MalformedMessage"]

_Enum = TypeVar("_Enum", bound=Enum)


class MalformedMessage(AgentError):
    """A line that is no message of the protocol."""


class JsonFields:
    """The members of one JSON object, each read as what it must be. Raises MalformedMessage."""

    def __init__(self, members: Mapping[str, object]) -> None:
        self._members = members

    @classmethod
    def parse(cls, line: str) -> JsonFields:
        try:
            members = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise MalformedMessage(f"not JSON ({error}): {line[:80]!r}") from error
        if not isinstance(members, dict):
            raise MalformedMessage(f"not a JSON object: {line[:80]!r}")
        return cls(members)

    def integer(self, name: str) -> int:
        value = self._members.get(name)
        if _is_integer(value):
            return value
        raise self._wrong(name, "an integer of 64 bits")

    def natural(self, name: str) -> int:
        """An integer from 0 on."""
        if (value := self.integer(name)) >= 0:
            return value
        raise self._wrong(name, "0 or more")

    def optional_natural(self, name: str) -> int | None:
        return None if self._members.get(name) is None else self.natural(name)

    def integers(self, name: str) -> tuple[int, ...]:
        value = self._members.get(name)
        if isinstance(value, list) and all(map(_is_integer, value)):
            return tuple(value)
        raise self._wrong(name, "a list of integers of 64 bits")

    def naturals(self, name: str) -> tuple[int, ...]:
        if min(values := self.integers(name), default=0) >= 0:
            return values
        raise self._wrong(name, "a list of integers from 0 on")

    def boolean(self, name: str) -> bool:
        value = self._members.get(name)
        if isinstance(value, bool):
            return value
        raise self._wrong(name, "true or false")

    def number(self, name: str) -> float:
        value = self._members.get(name)
        return value if isinstance(value, float) else float(self.integer(name))

    def optional_number(self, name: str) -> float | None:
        return None if self._members.get(name) is None else self.number(name)

    def text(self, name: str) -> str:
        value = self._members.get(name)
        if _is_text(value):
            return value
        raise self._wrong(name, "a string")

    def optional_text(self, name: str) -> str | None:
        return None if self._members.get(name) is None else self.text(name)

    def optional_texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, () where there is none."""
        value = self._members.get(name, [])
        if isinstance(value, list) and all(map(_is_text, value)):
            return tuple(value)
        raise self._wrong(name, "a list of strings")

    def fields(self, name: str) -> JsonFields:
        value = self._members.get(name)
        if isinstance(value, dict):
            return JsonFields(value)
        raise self._wrong(name, "an object")

    def objects(self, name: str) -> tuple[JsonFields, ...]:
        value = self._members.get(name)
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return tuple(JsonFields(item) for item in value)
        raise self._wrong(name, "a list of objects")

    def texts(self, name: str) -> dict[str, str]:
        inner = self.fields(name)
        return {key: inner.text(key) for key in inner._members}

    def member(self, name: str, of: type[_Enum]) -> _Enum:
        try:
            return of(self.text(name))
        except ValueError:
            raise self._wrong(name, f"one of {', '.join(member.value for member in of)}") from None

    def _wrong(self, name: str, wanted: str) -> MalformedMessage:
        return MalformedMessage(f"{name} is {self._members.get(name)!r:.80}, not {wanted}")


def _is_integer(value: object) -> TypeGuard[int]:
    """One that fits where it is going: protobuf and clocks have 64 bits."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def _is_text(value: object) -> TypeGuard[str]:
    """JSON may hold halves of a character (lone surrogates), which nothing can send on."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)
