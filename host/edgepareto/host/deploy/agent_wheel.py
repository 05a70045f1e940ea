"""The agent as a wheel, made of the installation that runs here: host and boards are of one release.

Also of an editable installation, and no index needs to have it. The same sources give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from edgepareto.host.errors import DeployError

__all__ = ["DISTRIBUTION", "AgentWheel", "agent_requirements", "build_agent_wheel"]

DISTRIBUTION = "edgepareto"
PACKAGES = ("edgepareto.agent", "edgepareto.profiler")
ENTRY_POINT = "edgepareto-agent = edgepareto.agent.__main__:main"
EXTRA = "agent"
LEFT_OUT = ("__pycache__", ".pyc", ".pyi")
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWheel:
    name: str
    version: str
    content: bytes


def agent_requirements() -> tuple[str, ...]:
    """What the agent needs on a board, as PEP 508 lines whose markers are still to be judged for that board.

    Only the question of the extra is answered already. Raises DeployError.
    """
    from packaging.markers import Marker
    from packaging.requirements import Requirement

    kept = []
    for line in _distribution().requires or ():
        requirement = Requirement(line)
        if requirement.marker is None:
            kept.append(str(requirement))
            continue
        extra, rest = _without_extra(str(requirement.marker))
        if extra in (None, EXTRA):
            requirement.marker = Marker(rest) if rest else None
            kept.append(str(requirement))
    return tuple(kept)


def build_agent_wheel() -> AgentWheel:
    """Raises DeployError where the installation is not whole."""
    distribution = _distribution()
    version = distribution.version
    info = f"{DISTRIBUTION}-{version}.dist-info"
    contents = dict(_sources())
    contents[f"{info}/METADATA"] = "\n".join(
        [
            "Metadata-Version: 2.1",
            f"Name: {DISTRIBUTION}",
            f"Version: {version}",
            "Summary: The agent alone, as host deploy puts it on a board",
            f"Requires-Python: {distribution.metadata['Requires-Python']}",
            *(f"Requires-Dist: {line}" for line in agent_requirements()),
            "",
        ]
    ).encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: edgepareto\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{ENTRY_POINT}\n".encode()
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in sorted(contents.items())]
    contents[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, FIRST_DAY)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return AgentWheel(name=f"{DISTRIBUTION}-{version}-py3-none-any.whl", version=version, content=buffer.getvalue())


def _distribution() -> metadata.Distribution:
    try:
        return metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise DeployError(
            f"{DISTRIBUTION} runs here without being installed, so what a board needs is not known; "
            f"pip install '{DISTRIBUTION}[host]'"
        ) from error


def _sources() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        spec = util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise DeployError(f"{package} is not installed here, so no board can get it; install {DISTRIBUTION} anew")
        for place in spec.submodule_search_locations:
            folder = Path(place)
            for file in sorted(folder.rglob("*")):
                if file.is_file() and not file.as_posix().endswith(LEFT_OUT) and "__pycache__" not in file.parts:
                    yield f"{package.replace('.', '/')}/{file.relative_to(folder).as_posix()}", file.read_bytes()


def _without_extra(marker: str) -> tuple[str | None, str]:
    """Split `(rest) and extra == "NAME"`, as build tools write it, into NAME and rest. No extra: (None, marker)."""
    rest, found, extra = marker.rpartition("extra == ")
    if not found:
        return None, marker
    rest = rest.strip().removesuffix("and").strip()
    return extra.strip().strip("\"'"), rest.removeprefix("(").removesuffix(")") if rest.startswith("(") else rest


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
