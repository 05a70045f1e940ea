"""The verbs a user types, one file each: parse, call the API, print. Nothing heavy is imported until a verb runs."""

from edgepareto.host.cli.app import run
from edgepareto.host.cli.session import Session

__all__ = ["Session", "run"]
