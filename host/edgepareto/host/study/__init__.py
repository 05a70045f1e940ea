"""One search from its configuration to its fronts: the loop, resuming it, and reading what it left."""

from edgepareto.host.study.distilling import distil_candidate
from edgepareto.host.study.fronts import candidate_model, irreplaceable, read_fronts, stored_search
from edgepareto.host.study.profiler import Connect, Profiler
from edgepareto.host.study.recompute import keep_shown, recompute
from edgepareto.host.study.remeasure import remeasure
from edgepareto.host.study.study import run_study
from edgepareto.host.study.verify import verify

__all__ = [
    "Connect",
    "Profiler",
    "candidate_model",
    "distil_candidate",
    "irreplaceable",
    "keep_shown",
    "read_fronts",
    "recompute",
    "remeasure",
    "run_study",
    "stored_search",
    "verify",
]
