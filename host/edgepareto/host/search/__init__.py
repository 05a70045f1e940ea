"""Which genomes to try next: evolutionary algorithms behind ask and tell. No network, no files, no ONNX."""

from edgepareto.host.search.hypervolume import HypervolumeScale, hypervolume
from edgepareto.host.search.search import ALGORITHM_NAMES, Outcome, Search, search_seed

__all__ = ["ALGORITHM_NAMES", "HypervolumeScale", "Outcome", "Search", "hypervolume", "search_seed"]
