"""The search that learns: what is measured trains models, and the models choose what is measured next."""

from edgepareto.host.search.surrogate.elsewhere import Elsewhere
from edgepareto.host.search.surrogate.objective_model import Features
from edgepareto.host.search.surrogate.strategy import Surrogate

__all__ = ["Elsewhere", "Features", "Surrogate"]
