"""What runs a model: one Protocol, its implementations by name. Importing this room loads no heavy library."""

from edgepareto.agent.runtime.real_runtimes import RUNTIME_NAMES
from edgepareto.agent.runtime.registry import open_runtime
from edgepareto.agent.runtime.runtime import Engine, EngineMaker, OperatorCost, Runtime, RuntimeOptions, RuntimeUsed

__all__ = [
    "RUNTIME_NAMES",
    "Engine",
    "EngineMaker",
    "OperatorCost",
    "Runtime",
    "RuntimeOptions",
    "RuntimeUsed",
    "open_runtime",
]
