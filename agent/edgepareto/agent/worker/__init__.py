"""The exec'd process that loads and runs one model, and the seam that starts it. Importing this room loads no numpy."""

from edgepareto.agent.worker.spawner import Cancelled, Child, ChildGone, ChildSilent, Spawn, spawn

__all__ = ["Cancelled", "Child", "ChildGone", "ChildSilent", "Spawn", "spawn"]
