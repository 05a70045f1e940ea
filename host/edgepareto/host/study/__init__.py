"""One search from its configuration to its fronts: the loop, resuming it, and reading what it left."""

from edgepareto.host.study.fronts import candidate_model, read_fronts
from edgepareto.host.study.profiler import Connect, Profiler
from edgepareto.host.study.study import run_study

__all__ = ["Connect", "Profiler", "candidate_model", "read_fronts", "run_study"]
