"""The field's words as frozen values, and the pure rules over them. No I/O."""

from edgepareto.host.domain.axis import Axis
from edgepareto.host.domain.batch import MAXIMUM_BATCH, AnchorBaseline, Batch, BatchEntry
from edgepareto.host.domain.candidate import CRITERIA, RECOVERIES, Candidate, CandidateId, Recipe, candidate_id
from edgepareto.host.domain.circumstances import Circumstances, circumstances
from edgepareto.host.domain.deployment import (
    AS_SET,
    LITERT,
    ONNX_RUNTIME,
    PRECISIONS,
    RUNTIMES,
    Deployment,
    DeploymentGenes,
    Format,
)
from edgepareto.host.domain.device import DeviceInfo, DeviceName, Meter, MeterQuality, RuntimeVersion
from edgepareto.host.domain.device_front import DeviceFront, FrontPoint, Shrinkage, Sparing, StudyFronts
from edgepareto.host.domain.front import Constraints, Estimate, dominates, front, knee, near_front
from edgepareto.host.domain.genome import BranchGene, ChannelGene, Genome, PruningSpace, allowed_widths
from edgepareto.host.domain.incident import Incident
from edgepareto.host.domain.interval import Interval
from edgepareto.host.domain.job import Job, JobEnergy, JobLatency, reduce_trace
from edgepareto.host.domain.measurement import EnergyObjective, Measurement, Repeatability, pool, repeatability
from edgepareto.host.domain.progress import Activity, DeviceProgress, StudyNotice
from edgepareto.host.domain.trace import (
    Conditions,
    LatencyBlock,
    MeterStatus,
    OperatorTime,
    PowerWindow,
    ProfileTrace,
    Purpose,
    RuntimeUsed,
    Status,
)

__all__ = [
    "AS_SET",
    "CRITERIA",
    "LITERT",
    "MAXIMUM_BATCH",
    "ONNX_RUNTIME",
    "PRECISIONS",
    "RECOVERIES",
    "RUNTIMES",
    "Activity",
    "AnchorBaseline",
    "Axis",
    "Batch",
    "BatchEntry",
    "BranchGene",
    "Candidate",
    "CandidateId",
    "ChannelGene",
    "Circumstances",
    "Conditions",
    "Constraints",
    "Deployment",
    "DeploymentGenes",
    "DeviceFront",
    "DeviceInfo",
    "DeviceName",
    "DeviceProgress",
    "EnergyObjective",
    "Estimate",
    "Format",
    "FrontPoint",
    "Genome",
    "Incident",
    "Interval",
    "Job",
    "JobEnergy",
    "JobLatency",
    "LatencyBlock",
    "Measurement",
    "Meter",
    "MeterQuality",
    "MeterStatus",
    "OperatorTime",
    "PowerWindow",
    "ProfileTrace",
    "PruningSpace",
    "Purpose",
    "Recipe",
    "Repeatability",
    "RuntimeUsed",
    "RuntimeVersion",
    "Shrinkage",
    "Sparing",
    "Status",
    "StudyFronts",
    "StudyNotice",
    "allowed_widths",
    "candidate_id",
    "circumstances",
    "dominates",
    "front",
    "knee",
    "near_front",
    "pool",
    "reduce_trace",
    "repeatability",
]
