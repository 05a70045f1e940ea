"""Which genomes to try next: algorithms behind ask and tell. No network, no files, no ONNX."""

from edgepareto.host.search.hypervolume import HypervolumeScale, hypervolume
from edgepareto.host.search.search import ALGORITHM_NAMES, Outcome, Search, search_seed
from edgepareto.host.search.space import CategoricalGene, IntegerGene, SearchSpace, Space
from edgepareto.host.search.surrogate import Features

__all__ = [
    "ALGORITHM_NAMES",
    "CategoricalGene",
    "Features",
    "HypervolumeScale",
    "IntegerGene",
    "Outcome",
    "Search",
    "SearchSpace",
    "Space",
    "hypervolume",
    "search_seed",
]
