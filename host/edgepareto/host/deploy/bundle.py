"""What is sent to a board: one folder, which install-agent.sh installs from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.credentials import BoardCredentials
from edgepareto.host.deploy.wheelhouse import Wheelhouse
from edgepareto.host.errors import DeployError

__all__ = ["INSTALL_SCRIPT", "BundleFile", "Settings", "board_file", "bundle_files", "folders_of"]

INSTALL_SCRIPT = "install-agent.sh"
BOARD_FILES = (
    "edgepareto-agent.service", "edgepareto-worker.socket", "edgepareto-worker@.service", "edgepareto-clocks.socket",
    "edgepareto-clocks@.service", "agent.toml.example", INSTALL_SCRIPT,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What agent.toml is made of, and with what. port: the agent's. meter: a kind, or "auto". interpreter: a path.

    shared: whether the board works for others meanwhile; None: as the agent has it, which is not. clock_modes: that
    hosts may ask for.
    """

    interpreter: str
    port: int
    meter: str
    shunt_ohm: float | None
    shared: bool | None = None
    clock_modes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """name: inside the bundle. sha256: of a wheel, which may lie there already."""

    name: str
    source: Path | bytes
    sha256: str | None = None


def bundle_files(
    wheelhouse: Wheelhouse,
    settings: Settings,
    *,
    credentials: tuple[BoardCredentials, str, bytes] | None,
) -> tuple[BundleFile, ...]:
    """Wheels last. credentials: of the board, its only owner's name and CA; None: it keeps its own."""
    files = [
        BundleFile(name="bundle.conf", source=_conf(wheelhouse, settings)),
        BundleFile(name="requirements.txt", source=wheelhouse.requirements_text.encode()),
        *(BundleFile(name=f"files/{name}", source=board_file(name)) for name in BOARD_FILES),
    ]
    if credentials is not None:
        pair, owner, ca_pem = credentials
        files += [
            BundleFile(name="credentials/agent.pem", source=pair.certificate_pem),
            BundleFile(name="credentials/agent.key", source=pair.key_pem),
            BundleFile(name=f"credentials/owners/{owner}.pem", source=ca_pem),
            BundleFile(name="credentials/only-these-owners", source=b""),
        ]
    wheels = sorted((*wheelhouse.wheels, wheelhouse.installer), key=lambda wheel: wheel.size)
    files += [BundleFile(name=f"wheels/{wheel.name}", source=wheel.file, sha256=wheel.sha256) for wheel in wheels]
    return tuple(files)


def folders_of(files: Sequence[BundleFile]) -> tuple[str, ...]:
    """Those that a bundle's files lie in, parents first."""
    found = {str(parent) for file in files for parent in Path(file.name).parents if str(parent) != "."}
    return tuple(sorted(found))


def board_file(name: str) -> bytes:
    """Of the folder deploy/: beside this module where the package is installed, in the clone where it is editable."""
    for folder in (Path(__file__).with_name("board_files"), Path(__file__).parents[4] / "deploy"):
        if (folder / name).is_file():
            return (folder / name).read_bytes()
    raise DeployError(f"{name}, which goes to every board, is missing from this installation; install edgepareto anew")


def _conf(wheelhouse: Wheelhouse, settings: Settings) -> bytes:
    lines = [
        f"release={wheelhouse.release}",
        f"version={wheelhouse.agent_version}",
        f"python={wheelhouse.python}",
        f"interpreter={settings.interpreter}",
        f"installer_sha256={wheelhouse.installer.sha256}",
        f"port={settings.port}",
        f"meter={settings.meter}",
    ]
    if settings.shunt_ohm is not None:
        lines.append(f"shunt_ohm={settings.shunt_ohm}")
    if settings.shared is not None:
        lines.append(f"shared={str(settings.shared).lower()}")
    if settings.clock_modes:
        lines.append(f"clock_modes={' '.join(settings.clock_modes)}")
    return "\n".join([*lines, ""]).encode()
