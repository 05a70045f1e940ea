"""The boards: how they are reached, held and asked to measure. Which ones a user means, config says."""

from edgepareto.host.fleet.connection import connect, probe
from edgepareto.host.fleet.lease import WAIT_S
from edgepareto.host.fleet.owner import lease_owner
from edgepareto.host.fleet.profiler_client import ProfilerClient

__all__ = ["WAIT_S", "ProfilerClient", "connect", "lease_owner", "probe"]
