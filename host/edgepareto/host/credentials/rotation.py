"""A new authority for a user, moved to board by board; no crash and no absent board locks the user out.

While a rotation is open both identities exist: the one in use, and the next one in next/ with the ids of the boards
that have moved to it. A board is dialled with the one that it knows, then with the other (`dialling`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.config.folder import write_whole
from edgepareto.host.credentials.identity import (
    DISCARDED,
    PROMOTED,
    Identity,
    credentials_folder,
    identity_lock,
    made_identity,
    make_identity,
    own_identity,
    sound_identity,
)
from edgepareto.host.errors import ConfigError

__all__ = [
    "Rotation",
    "abandon_rotation",
    "begin_rotation",
    "finish_rotation",
    "mark_moved",
    "mark_returned",
    "open_rotation",
]

NEXT = "next"
MOVED = "moved.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """moved: ids of the boards that know the next authority; those that know only the current one are the others."""

    current: Identity
    next: Identity
    moved: frozenset[str]


def open_rotation(folder: Path | None = None) -> Rotation | None:
    folder = folder or credentials_folder()
    if not folder.is_dir():
        return None
    with identity_lock(folder):
        return rotation_in(folder)


def rotation_in(folder: Path) -> Rotation | None:
    """`open_rotation` for who holds the lock."""
    return _opened(folder) if (folder / NEXT).is_dir() else None


def begin_rotation(folder: Path | None = None) -> Rotation:
    """Make the next identity beside the current one; an open rotation goes on."""
    folder = folder or credentials_folder()
    with identity_lock(folder):
        current = made_identity(folder)
        if not (folder / NEXT).is_dir():
            make_identity(folder / NEXT, current.owner)
        return _opened(folder)


def mark_moved(board_id: str, folder: Path | None = None) -> None:
    """The board knows the next authority and is to be dialled with it first; call it before it forgets the old one."""
    _write_moved(folder, lambda moved: moved | {board_id})


def mark_returned(board_id: str, folder: Path | None = None) -> None:
    """The board knows the current authority again: its move was undone."""
    _write_moved(folder, lambda moved: moved - {board_id})


def finish_rotation(folder: Path | None = None, *, board_ids: Collection[str]) -> Identity:
    """The next identity becomes the only one; the old keys are gone. ConfigError while one of board_ids has not moved.

    board_ids: of every board of the inventory that the current authority was for.
    """
    folder = folder or credentials_folder()
    with identity_lock(folder):
        rotation = _opened(folder)
        behind = sorted(set(board_ids) - rotation.moved)
        if behind:
            raise ConfigError(
                f"boards {', '.join(behind)} know only the old authority; host deploy NAME --rotate moves one, "
                "host devices remove NAME gives one up"
            )
        (folder / NEXT).rename(folder / PROMOTED)  # the commit; whoever takes the lock next puts the files in place
    return own_identity(folder)


def abandon_rotation(folder: Path | None = None) -> Identity:
    """The next identity is gone, the current one stays. ConfigError while a board has moved: it would be locked out."""
    folder = folder or credentials_folder()
    with identity_lock(folder):
        rotation = _opened(folder)
        if rotation.moved:
            raise ConfigError(
                f"boards {', '.join(sorted(rotation.moved))} know the new authority already; go on with "
                "host deploy NAME --rotate for the others"
            )
        (folder / NEXT).rename(folder / DISCARDED)  # the commit; whoever takes the lock next removes the files
    return own_identity(folder)


def _opened(folder: Path) -> Rotation:
    if not (folder / NEXT).is_dir():
        raise ConfigError(f"{folder}: no rotation is open; begin one with host deploy NAME --rotate")
    try:
        moved = frozenset(json.loads((folder / NEXT / MOVED).read_text(encoding="utf-8")))
    except FileNotFoundError:
        moved = frozenset()
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{folder / NEXT / MOVED}: is no list of board ids ({error}); delete it") from error
    return Rotation(current=sound_identity(folder), next=sound_identity(folder / NEXT), moved=moved)


def _write_moved(folder: Path | None, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
    folder = folder or credentials_folder()
    with identity_lock(folder):
        moved = change(_opened(folder).moved)
        write_whole(folder / NEXT / MOVED, json.dumps(sorted(moved)).encode())
