"""Which wheels a board needs, by its own markers: pip judges those of the Python that it runs on."""

from __future__ import annotations

import email
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.deploy.board_platform import BoardPlatform
from edgepareto.host.errors import DeployError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["for_board", "is_stood_in", "name_and_version", "needed_wheels", "tags_of_wheel"]

# NVIDIA's wheel brings the same module under another name.
STANDS_IN = {"onnxruntime-gpu": "onnxruntime"}


def needed_wheels(
    board: BoardPlatform, roots: Sequence[str], pool: Path, given: Sequence[str]
) -> tuple[set[str], list[str]]:
    """File names of the pool that `roots` need on the board, and requirements that none in the pool satisfies."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    there: dict[str, Path] = {}
    for file in sorted(pool.glob("*.whl"), key=lambda file: file.name in given):
        name = name_and_version(file.name)[0]
        there[name] = file
        if name in STANDS_IN:
            there[STANDS_IN[name]] = file
    wanted: set[str] = set()
    missing: list[str] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    ahead = [Requirement(line) for line in roots]
    while ahead:
        requirement = ahead.pop()
        if requirement.marker is not None and not requirement.marker.evaluate(dict(board.environment)):
            continue
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        found = there.get(name)
        if found is None or not (name_and_version(found.name)[0] != name or _satisfies(found, requirement)):
            missing.append(_unmarked(requirement))
            continue
        if key in seen:
            continue
        seen.add(key)
        wanted.add(found.name)
        ahead += _needs(found, board, requirement.extras)
    return wanted, list(dict.fromkeys(missing))


def for_board(lines: Sequence[str], board: BoardPlatform) -> Iterator[str]:
    """Markers answered, for pip would answer them for this machine."""
    from packaging.requirements import Requirement

    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(dict(board.environment)):
            yield _unmarked(requirement)


def is_stood_in(line: str, given: Sequence[Path]) -> bool:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    replaced = {STANDS_IN.get(name_and_version(file.name)[0]) for file in given}
    return canonicalize_name(Requirement(line).name) in replaced


def name_and_version(wheel_name: str) -> tuple[str, str]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(wheel_name)
    except InvalidWheelFilename as error:
        raise DeployError(f"{wheel_name}: is no name of a wheel ({error})") from error
    return str(name), str(version)


def tags_of_wheel(name: str) -> set[str]:
    from packaging.utils import parse_wheel_filename

    return {str(tag) for tag in parse_wheel_filename(name)[3]}


def _needs(file: Path, board: BoardPlatform, extras: set[str]) -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    for line in _metadata(file).get_all("Requires-Dist") or ():
        needed = Requirement(line)
        if needed.marker is None or any(
            needed.marker.evaluate({**board.environment, "extra": extra}) for extra in ("", *extras)
        ):
            needed.marker = None
            yield needed


def _satisfies(file: Path, requirement: Requirement) -> bool:
    return requirement.specifier.contains(name_and_version(file.name)[1], prereleases=True)


def _unmarked(requirement: Requirement) -> str:
    from packaging.requirements import Requirement

    bare = Requirement(str(requirement))
    bare.marker = None
    return str(bare)


def _metadata(file: Path) -> email.message.Message:
    try:
        with zipfile.ZipFile(file) as archive:
            name = next(
                name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
            )
            return email.message_from_bytes(archive.read(name))
    except (OSError, zipfile.BadZipFile, StopIteration) as error:
        raise DeployError(f"{file}: is no wheel ({error or 'without METADATA'}); get it anew") from error
