"""The public Python functions; the command line calls nothing else.

    from edgepareto.host.api import search
    study = search("resnet.onnx", calibration="calibration.npz", validation="validation.npz", scale=1 / 255,
                   devices=["pi1"], settings="edgepareto.toml", min_accuracy=0.88)
    study.front("pi1").pick("knee").measurement.latency_s

Every function raises EdgeParetoError leaves (edgepareto.host.errors) with one-line messages.

A function's room is imported with its first use: listing the boards loads nothing that prunes. Which there are stands
in __init__.pyi.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return __all__


def _rooms() -> dict[str, str]:
    """The module of each public name."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [line for line in stub.body if isinstance(line, ast.ImportFrom)]
    return {alias.name: str(line.module) for line in imports for alias in line.names}


_ROOMS = _rooms()
__all__ = list(_ROOMS)
