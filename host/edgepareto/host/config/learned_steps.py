"""Learned channel steps as files beside edgepareto.toml: .edgepareto/steps/DEVICE.json, written by a probe."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from edgepareto.host.domain.device import DeviceName
from edgepareto.host.domain.learned_steps import KernelKind, KindProbe, LearnedSteps
from edgepareto.host.domain.staircase import Staircase
from edgepareto.host.errors import ConfigError

__all__ = ["read_learned_steps", "steps_file", "write_learned_steps"]

FOLDER = Path(".edgepareto", "steps")
SCHEMA = 1


def steps_file(folder: Path, device: str) -> Path:
    """folder: that of edgepareto.toml, else the current one. A device may be called 127.0.0.1:50051."""
    return folder / FOLDER / f"{quote(device, safe='')}.json"


def write_learned_steps(steps: LearnedSteps, folder: Path) -> Path:
    """Whole or not at all; what was learned before is replaced. Returns the file."""
    file = steps_file(folder, steps.device)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.write_text(json.dumps({"schema": SCHEMA, **asdict(steps)}, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(file)
    return file


def read_learned_steps(folder: Path, device: str) -> LearnedSteps | None:
    """None: never probed. Raises ConfigError for a file that is no probe of ours."""
    file = steps_file(folder, device)
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        if raw.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        return LearnedSteps(
            **{
                **raw,
                "device": DeviceName(raw["device"]),
                "probes": tuple(_probe(probe) for probe in raw["probes"]),
            }
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        again = f"delete it, or run host profile-steps --devices {device}"
        raise ConfigError(f"{file}: cannot be read as learned steps ({error}); {again}") from error


def _probe(raw: dict[str, object]) -> KindProbe:
    widths, latencies_s, staircase = raw["widths"], raw["latencies_s"], raw["staircase"]
    if not isinstance(widths, list) or not isinstance(latencies_s, list) or not isinstance(staircase, dict):
        raise TypeError("a probe needs widths, latencies_s and staircase")
    return KindProbe(
        kind=KernelKind(raw["kind"]),
        staircase=Staircase(**{**staircase, "rivals": tuple(staircase["rivals"])}),
        widths=tuple(int(width) for width in widths),
        latencies_s=tuple(float(latency_s) for latency_s in latencies_s),
    )
