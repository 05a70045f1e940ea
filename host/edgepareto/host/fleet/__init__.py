"""The boards: which ones a user means, how they are reached, and a client for each."""

from edgepareto.host.fleet.connection import connect, probe
from edgepareto.host.fleet.inventory import resolve
from edgepareto.host.fleet.profiler_client import ProfilerClient

__all__ = ["ProfilerClient", "connect", "probe", "resolve"]
