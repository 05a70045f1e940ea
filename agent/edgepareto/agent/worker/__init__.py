"""The exec'd process that loads and runs one model, and the seam that starts it. Importing this room loads no numpy."""

from edgepareto.agent.worker.child import Cancelled, Child, ChildGone, ChildSilent
from edgepareto.agent.worker.service import ServiceSpawn
from edgepareto.agent.worker.spawner import Spawn, spawn

__all__ = ["Cancelled", "Child", "ChildGone", "ChildSilent", "ServiceSpawn", "Spawn", "spawn"]
