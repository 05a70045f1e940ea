"""Which public functions there are, and the room of each: the only list of them, for type checkers and for __init__.py.

`as` says that a name is public.
"""

from edgepareto.host.api.converting import convert as convert
from edgepareto.host.api.deploying import DeployTask as DeployTask
from edgepareto.host.api.deploying import deploy as deploy
from edgepareto.host.api.device_access import board_log as board_log
from edgepareto.host.api.device_access import board_owners as board_owners
from edgepareto.host.api.device_access import grant_access as grant_access
from edgepareto.host.api.device_access import lease_holder as lease_holder
from edgepareto.host.api.device_access import revoke_access as revoke_access
from edgepareto.host.api.device_access import unlock_device as unlock_device
from edgepareto.host.api.devices import add_device as add_device
from edgepareto.host.api.devices import add_device_by_card as add_device_by_card
from edgepareto.host.api.devices import check_devices as check_devices
from edgepareto.host.api.devices import device_details as device_details
from edgepareto.host.api.devices import known_devices as known_devices
from edgepareto.host.api.devices import known_identity as known_identity
from edgepareto.host.api.devices import own_identity as own_identity
from edgepareto.host.api.devices import remove_device as remove_device
from edgepareto.host.api.devices import write_authority as write_authority
from edgepareto.host.api.distilling import distil as distil
from edgepareto.host.api.models import inspect as inspect
from edgepareto.host.api.models import prune as prune
from edgepareto.host.api.optimizing import CategoricalGene as CategoricalGene
from edgepareto.host.api.optimizing import IntegerGene as IntegerGene
from edgepareto.host.api.optimizing import Optimizer as Optimizer
from edgepareto.host.api.optimizing import Scale as Scale
from edgepareto.host.api.optimizing import SearchSpace as SearchSpace
from edgepareto.host.api.profiling import profile as profile
from edgepareto.host.api.project import check_settings as check_settings
from edgepareto.host.api.project import init_project as init_project
from edgepareto.host.api.quantising import quantize as quantize
from edgepareto.host.api.searching import search as search
from edgepareto.host.api.step_probing import profile_steps as profile_steps
from edgepareto.host.api.study import DeviceFrontView as DeviceFrontView
from edgepareto.host.api.study import Study as Study
from edgepareto.host.api.study import export as export
from edgepareto.host.api.study import load_study as load_study
from edgepareto.host.api.study import recompute as recompute
from edgepareto.host.api.study import remeasure as remeasure
from edgepareto.host.api.verifying import verify as verify
from edgepareto.host.config import DeviceConfig as DeviceConfig
