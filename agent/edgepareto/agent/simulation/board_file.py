"""board.toml: what makes one simulated board differ from another of the same profile."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edgepareto.agent.errors import ConfigError
from edgepareto.agent.simulation.faults import Faults, parse_faults
from edgepareto.agent.simulation.profile import BoardProfile, load_profile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["BoardSettings", "read_settings", "write_settings"]

_FILE = "board.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSettings:
    """seed: noise is a function of it and of the job alone. pace: real seconds per measured second, 0 as fast as it
    goes. fault_names: as in board.toml, `faults` says what they mean.
    """

    profile_name: str
    seed: int
    fault_names: tuple[str, ...]
    pace: float

    @property
    def profile(self) -> BoardProfile:
        return load_profile(self.profile_name)

    @property
    def faults(self) -> Faults:
        return parse_faults(self.fault_names)

    def digest(self, *parts: str) -> bytes:
        """32 bytes that differ by board, seed and parts, the same in every process."""
        return sha256("\0".join((self.profile_name, str(self.seed), *parts)).encode()).digest()


def write_settings(folder: Path, settings: BoardSettings) -> None:
    # A JSON string is a TOML basic string.
    lines = (
        f"profile = {json.dumps(settings.profile_name)}",
        f"seed = {settings.seed}",
        f"faults = {json.dumps(list(settings.fault_names))}",
        f"pace = {float(settings.pace)}",
    )
    (folder / _FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> BoardSettings:
    """Raises ConfigError where the folder is not a simulated board's."""
    path = folder / _FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return BoardSettings(
            profile_name=document["profile"],
            seed=int(document["seed"]),
            fault_names=tuple(document["faults"]),
            pace=float(document["pace"]),
        )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} does not describe a simulated board ({error!r}): let create_board write it"
        ) from error
