"""What a user sees: tables, JSON, CSV, pictures, the report, progress. Takes domain values, decides nothing."""

from edgepareto.host.views.console import log_console, print_changes, print_parts, results_console
from edgepareto.host.views.convert_view import ConvertReport, FileTensor, convert_json, convert_text
from edgepareto.host.views.device_view import (
    DeviceDetails,
    DeviceStatus,
    device_details_json,
    device_details_table,
    devices_table,
    holder_text,
    identity_lines,
    known_devices_json,
    known_devices_table,
)
from edgepareto.host.views.distil_view import DistilReport, distil_json, distil_text
from edgepareto.host.views.front_plot import write_front_plot
from edgepareto.host.views.front_text import front_csv, front_json
from edgepareto.host.views.model_view import PruneReport, inspect_json, inspect_table, prune_json, prune_table
from edgepareto.host.views.profile_view import ProfileResult, profile_json, profile_table
from edgepareto.host.views.progress import Listener, show_progress
from edgepareto.host.views.quantize_view import QuantizeReport, quantize_json, quantize_text
from edgepareto.host.views.recompute_view import recomputed_lines
from edgepareto.host.views.remeasure_view import remeasured_tables
from edgepareto.host.views.report import write_report
from edgepareto.host.views.spinner import show_spinner
from edgepareto.host.views.steps_plot import write_steps_plot
from edgepareto.host.views.steps_view import ProbedSteps, steps_json, steps_tables
from edgepareto.host.views.table import front_tables
from edgepareto.host.views.verify_view import verified_json, verified_tables

__all__ = [
    "ConvertReport",
    "DeviceDetails",
    "DeviceStatus",
    "DistilReport",
    "FileTensor",
    "Listener",
    "ProbedSteps",
    "ProfileResult",
    "PruneReport",
    "QuantizeReport",
    "convert_json",
    "convert_text",
    "device_details_json",
    "device_details_table",
    "devices_table",
    "distil_json",
    "distil_text",
    "front_csv",
    "front_json",
    "front_tables",
    "holder_text",
    "identity_lines",
    "inspect_json",
    "inspect_table",
    "known_devices_json",
    "known_devices_table",
    "log_console",
    "print_changes",
    "print_parts",
    "profile_json",
    "profile_table",
    "prune_json",
    "prune_table",
    "quantize_json",
    "quantize_text",
    "recomputed_lines",
    "remeasured_tables",
    "results_console",
    "show_progress",
    "show_spinner",
    "steps_json",
    "steps_tables",
    "verified_json",
    "verified_tables",
    "write_front_plot",
    "write_report",
    "write_steps_plot",
]
