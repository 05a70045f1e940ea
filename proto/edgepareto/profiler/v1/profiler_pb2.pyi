from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Purpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PURPOSE_UNSPECIFIED: _ClassVar[Purpose]
    PURPOSE_SEARCH: _ClassVar[Purpose]
    PURPOSE_REMEASURE: _ClassVar[Purpose]
    PURPOSE_VERIFY: _ClassVar[Purpose]

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    OK: _ClassVar[Status]
    INVALID_MODEL: _ClassVar[Status]
    UNSUPPORTED_OP: _ClassVar[Status]
    LOAD_FAILED: _ClassVar[Status]
    OUTPUT_MISMATCH: _ClassVar[Status]
    OOM: _ClassVar[Status]
    TIMEOUT: _ClassVar[Status]
    WORKER_CRASHED: _ClassVar[Status]
    THROTTLED: _ClassVar[Status]
    UNDERVOLTAGE: _ClassVar[Status]
    TOO_HOT: _ClassVar[Status]
    CONTENDED: _ClassVar[Status]
    ANCHOR_DRIFT: _ClassVar[Status]
    WRONG_PROVIDER: _ClassVar[Status]
    WRONG_CLOCK: _ClassVar[Status]
    BOARD_REBOOTED: _ClassVar[Status]
    LEASE_LOST: _ClassVar[Status]
    BUSY: _ClassVar[Status]
    AGENT_SHUTDOWN: _ClassVar[Status]
    UPLOAD_CORRUPT: _ClassVar[Status]

class MeterStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METER_STATUS_UNSPECIFIED: _ClassVar[MeterStatus]
    METER_OK: _ClassVar[MeterStatus]
    METER_ABSENT: _ClassVar[MeterStatus]
    METER_IO: _ClassVar[MeterStatus]
    METER_RESET: _ClassVar[MeterStatus]
    METER_CLIPPED: _ClassVar[MeterStatus]
    METER_GAP: _ClassVar[MeterStatus]
    METER_STUCK: _ClassVar[MeterStatus]
PURPOSE_UNSPECIFIED: Purpose
PURPOSE_SEARCH: Purpose
PURPOSE_REMEASURE: Purpose
PURPOSE_VERIFY: Purpose
STATUS_UNSPECIFIED: Status
OK: Status
INVALID_MODEL: Status
UNSUPPORTED_OP: Status
LOAD_FAILED: Status
OUTPUT_MISMATCH: Status
OOM: Status
TIMEOUT: Status
WORKER_CRASHED: Status
THROTTLED: Status
UNDERVOLTAGE: Status
TOO_HOT: Status
CONTENDED: Status
ANCHOR_DRIFT: Status
WRONG_PROVIDER: Status
WRONG_CLOCK: Status
BOARD_REBOOTED: Status
LEASE_LOST: Status
BUSY: Status
AGENT_SHUTDOWN: Status
UPLOAD_CORRUPT: Status
METER_STATUS_UNSPECIFIED: MeterStatus
METER_OK: MeterStatus
METER_ABSENT: MeterStatus
METER_IO: MeterStatus
METER_RESET: MeterStatus
METER_CLIPPED: MeterStatus
METER_GAP: MeterStatus
METER_STUCK: MeterStatus

class GetDeviceInfoRequest(_message.Message):
    __slots__ = ("protocol_version",)
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    def __init__(self, protocol_version: _Optional[int] = ...) -> None: ...

class RuntimeInfo(_message.Message):
    __slots__ = ("name", "version", "providers", "figures")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    providers: _containers.RepeatedScalarFieldContainer[str]
    figures: _containers.RepeatedCompositeFieldContainer[Figures]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., providers: _Optional[_Iterable[str]] = ..., figures: _Optional[_Iterable[_Union[Figures, _Mapping]]] = ...) -> None: ...

class Figures(_message.Message):
    __slots__ = ("provider", "precisions")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PRECISIONS_FIELD_NUMBER: _ClassVar[int]
    provider: str
    precisions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, provider: _Optional[str] = ..., precisions: _Optional[_Iterable[str]] = ...) -> None: ...

class MeterInfo(_message.Message):
    __slots__ = ("kind", "quality", "address", "shunt_ohm", "config", "calibration", "rail", "fault")
    class Quality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        QUALITY_UNSPECIFIED: _ClassVar[MeterInfo.Quality]
        QUALITY_MEASURED: _ClassVar[MeterInfo.Quality]
        QUALITY_COUNTER: _ClassVar[MeterInfo.Quality]
        QUALITY_ESTIMATE: _ClassVar[MeterInfo.Quality]
        QUALITY_SIMULATED: _ClassVar[MeterInfo.Quality]
    QUALITY_UNSPECIFIED: MeterInfo.Quality
    QUALITY_MEASURED: MeterInfo.Quality
    QUALITY_COUNTER: MeterInfo.Quality
    QUALITY_ESTIMATE: MeterInfo.Quality
    QUALITY_SIMULATED: MeterInfo.Quality
    KIND_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SHUNT_OHM_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    RAIL_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    quality: MeterInfo.Quality
    address: int
    shunt_ohm: float
    config: int
    calibration: int
    rail: str
    fault: str
    def __init__(self, kind: _Optional[str] = ..., quality: _Optional[_Union[MeterInfo.Quality, str]] = ..., address: _Optional[int] = ..., shunt_ohm: _Optional[float] = ..., config: _Optional[int] = ..., calibration: _Optional[int] = ..., rail: _Optional[str] = ..., fault: _Optional[str] = ...) -> None: ...

class DeviceInfo(_message.Message):
    __slots__ = ("protocol_version", "agent_version", "board_id", "boot_id", "board", "simulated", "architecture", "os", "cpu_count", "memory_bytes", "runtimes", "meter", "default_threads", "shares_host_cores", "profile_note", "host_boot_id", "fixes_clocks", "holder", "clock_modes")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    BOARD_ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_THREADS_FIELD_NUMBER: _ClassVar[int]
    SHARES_HOST_CORES_FIELD_NUMBER: _ClassVar[int]
    PROFILE_NOTE_FIELD_NUMBER: _ClassVar[int]
    HOST_BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    FIXES_CLOCKS_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CLOCK_MODES_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    agent_version: str
    board_id: str
    boot_id: str
    board: str
    simulated: bool
    architecture: str
    os: str
    cpu_count: int
    memory_bytes: int
    runtimes: _containers.RepeatedCompositeFieldContainer[RuntimeInfo]
    meter: MeterInfo
    default_threads: int
    shares_host_cores: bool
    profile_note: str
    host_boot_id: str
    fixes_clocks: bool
    holder: LeaseHolder
    clock_modes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocol_version: _Optional[int] = ..., agent_version: _Optional[str] = ..., board_id: _Optional[str] = ..., boot_id: _Optional[str] = ..., board: _Optional[str] = ..., simulated: bool = ..., architecture: _Optional[str] = ..., os: _Optional[str] = ..., cpu_count: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., runtimes: _Optional[_Iterable[_Union[RuntimeInfo, _Mapping]]] = ..., meter: _Optional[_Union[MeterInfo, _Mapping]] = ..., default_threads: _Optional[int] = ..., shares_host_cores: bool = ..., profile_note: _Optional[str] = ..., host_boot_id: _Optional[str] = ..., fixes_clocks: bool = ..., holder: _Optional[_Union[LeaseHolder, _Mapping]] = ..., clock_modes: _Optional[_Iterable[str]] = ...) -> None: ...

class LeaseHolder(_message.Message):
    __slots__ = ("owner", "fingerprint", "expires_in_s", "waiting")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    owner: str
    fingerprint: str
    expires_in_s: float
    waiting: int
    def __init__(self, owner: _Optional[str] = ..., fingerprint: _Optional[str] = ..., expires_in_s: _Optional[float] = ..., waiting: _Optional[int] = ...) -> None: ...

class AcquireLeaseRequest(_message.Message):
    __slots__ = ("owner", "ttl_s", "wait")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    owner: str
    ttl_s: int
    wait: bool
    def __init__(self, owner: _Optional[str] = ..., ttl_s: _Optional[int] = ..., wait: bool = ...) -> None: ...

class RenewLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "ttl_s")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    ttl_s: int
    def __init__(self, lease_id: _Optional[str] = ..., ttl_s: _Optional[int] = ...) -> None: ...

class ReleaseLeaseRequest(_message.Message):
    __slots__ = ("lease_id",)
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    def __init__(self, lease_id: _Optional[str] = ...) -> None: ...

class ReleaseLeaseResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Lease(_message.Message):
    __slots__ = ("granted", "lease_id", "owner", "expires_in_s", "queue_position", "owner_fingerprint", "unlocked_by")
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    OWNER_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    UNLOCKED_BY_FIELD_NUMBER: _ClassVar[int]
    granted: bool
    lease_id: str
    owner: str
    expires_in_s: float
    queue_position: int
    owner_fingerprint: str
    unlocked_by: str
    def __init__(self, granted: bool = ..., lease_id: _Optional[str] = ..., owner: _Optional[str] = ..., expires_in_s: _Optional[float] = ..., queue_position: _Optional[int] = ..., owner_fingerprint: _Optional[str] = ..., unlocked_by: _Optional[str] = ...) -> None: ...

class UnlockRequest(_message.Message):
    __slots__ = ("by",)
    BY_FIELD_NUMBER: _ClassVar[int]
    by: str
    def __init__(self, by: _Optional[str] = ...) -> None: ...

class UnlockResponse(_message.Message):
    __slots__ = ("ended",)
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ended: LeaseHolder
    def __init__(self, ended: _Optional[_Union[LeaseHolder, _Mapping]] = ...) -> None: ...

class HasBlobsRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sha256: _Optional[_Iterable[str]] = ...) -> None: ...

class HasBlobsResponse(_message.Message):
    __slots__ = ("missing_sha256",)
    MISSING_SHA256_FIELD_NUMBER: _ClassVar[int]
    missing_sha256: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, missing_sha256: _Optional[_Iterable[str]] = ...) -> None: ...

class UploadBlobRequest(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: BlobHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[BlobHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class BlobHeader(_message.Message):
    __slots__ = ("lease_id", "sha256", "size_bytes")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    sha256: str
    size_bytes: int
    def __init__(self, lease_id: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class UploadBlobResponse(_message.Message):
    __slots__ = ("sha256", "size_bytes")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class CandidateRequest(_message.Message):
    __slots__ = ("candidate_id", "purpose", "attempt", "model_sha256", "expected_outputs_sha256", "runtime", "inputs_sha256", "relative_tolerance")
    CANDIDATE_ID_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_OUTPUTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    candidate_id: str
    purpose: Purpose
    attempt: int
    model_sha256: str
    expected_outputs_sha256: str
    runtime: RuntimeOptions
    inputs_sha256: str
    relative_tolerance: float
    def __init__(self, candidate_id: _Optional[str] = ..., purpose: _Optional[_Union[Purpose, str]] = ..., attempt: _Optional[int] = ..., model_sha256: _Optional[str] = ..., expected_outputs_sha256: _Optional[str] = ..., runtime: _Optional[_Union[RuntimeOptions, _Mapping]] = ..., inputs_sha256: _Optional[str] = ..., relative_tolerance: _Optional[float] = ...) -> None: ...

class RuntimeOptions(_message.Message):
    __slots__ = ("name", "threads", "provider", "precision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    threads: int
    provider: str
    precision: str
    def __init__(self, name: _Optional[str] = ..., threads: _Optional[int] = ..., provider: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class ProfileRequest(_message.Message):
    __slots__ = ("lease_id", "request_key", "preset", "order_seed", "anchor", "candidates", "runtime", "inputs_sha256", "relative_tolerance", "measure_energy", "anchor_baseline", "time_operators", "clock_mode")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_KEY_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    ORDER_SEED_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    MEASURE_ENERGY_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_BASELINE_FIELD_NUMBER: _ClassVar[int]
    TIME_OPERATORS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_MODE_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    request_key: str
    preset: str
    order_seed: int
    anchor: CandidateRequest
    candidates: _containers.RepeatedCompositeFieldContainer[CandidateRequest]
    runtime: RuntimeOptions
    inputs_sha256: str
    relative_tolerance: float
    measure_energy: bool
    anchor_baseline: AnchorBaseline
    time_operators: bool
    clock_mode: str
    def __init__(self, lease_id: _Optional[str] = ..., request_key: _Optional[str] = ..., preset: _Optional[str] = ..., order_seed: _Optional[int] = ..., anchor: _Optional[_Union[CandidateRequest, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[CandidateRequest, _Mapping]]] = ..., runtime: _Optional[_Union[RuntimeOptions, _Mapping]] = ..., inputs_sha256: _Optional[str] = ..., relative_tolerance: _Optional[float] = ..., measure_energy: bool = ..., anchor_baseline: _Optional[_Union[AnchorBaseline, _Mapping]] = ..., time_operators: bool = ..., clock_mode: _Optional[str] = ...) -> None: ...

class AnchorBaseline(_message.Message):
    __slots__ = ("latency_ns", "boot_id", "governor")
    LATENCY_NS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    GOVERNOR_FIELD_NUMBER: _ClassVar[int]
    latency_ns: int
    boot_id: str
    governor: str
    def __init__(self, latency_ns: _Optional[int] = ..., boot_id: _Optional[str] = ..., governor: _Optional[str] = ...) -> None: ...

class FetchResultRequest(_message.Message):
    __slots__ = ("request_key",)
    REQUEST_KEY_FIELD_NUMBER: _ClassVar[int]
    request_key: str
    def __init__(self, request_key: _Optional[str] = ...) -> None: ...

class ProfileEvent(_message.Message):
    __slots__ = ("progress", "result_chunk", "done")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    result_chunk: ResultChunk
    done: BatchDone
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., result_chunk: _Optional[_Union[ResultChunk, _Mapping]] = ..., done: _Optional[_Union[BatchDone, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("stage", "candidate_id", "round", "rounds")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    candidate_id: str
    round: int
    rounds: int
    def __init__(self, stage: _Optional[str] = ..., candidate_id: _Optional[str] = ..., round: _Optional[int] = ..., rounds: _Optional[int] = ...) -> None: ...

class ResultChunk(_message.Message):
    __slots__ = ("candidate_id", "data", "last")
    CANDIDATE_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    candidate_id: str
    data: bytes
    last: bool
    def __init__(self, candidate_id: _Optional[str] = ..., data: _Optional[bytes] = ..., last: bool = ...) -> None: ...

class BatchDone(_message.Message):
    __slots__ = ("request_key", "from_journal")
    REQUEST_KEY_FIELD_NUMBER: _ClassVar[int]
    FROM_JOURNAL_FIELD_NUMBER: _ClassVar[int]
    request_key: str
    from_journal: bool
    def __init__(self, request_key: _Optional[str] = ..., from_journal: bool = ...) -> None: ...

class Conditions(_message.Message):
    __slots__ = ("temperature_c", "frequency_hz", "governor", "throttle_bits", "contention", "free_memory_bytes", "power_mode", "fan_level", "time_in_state", "clocks_fixed", "gpu_frequency_hz", "memory_frequency_hz")
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_HZ_FIELD_NUMBER: _ClassVar[int]
    GOVERNOR_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_BITS_FIELD_NUMBER: _ClassVar[int]
    CONTENTION_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    POWER_MODE_FIELD_NUMBER: _ClassVar[int]
    FAN_LEVEL_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_STATE_FIELD_NUMBER: _ClassVar[int]
    CLOCKS_FIXED_FIELD_NUMBER: _ClassVar[int]
    GPU_FREQUENCY_HZ_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FREQUENCY_HZ_FIELD_NUMBER: _ClassVar[int]
    temperature_c: float
    frequency_hz: float
    governor: str
    throttle_bits: int
    contention: float
    free_memory_bytes: int
    power_mode: str
    fan_level: int
    time_in_state: _containers.RepeatedCompositeFieldContainer[FrequencyTime]
    clocks_fixed: bool
    gpu_frequency_hz: float
    memory_frequency_hz: float
    def __init__(self, temperature_c: _Optional[float] = ..., frequency_hz: _Optional[float] = ..., governor: _Optional[str] = ..., throttle_bits: _Optional[int] = ..., contention: _Optional[float] = ..., free_memory_bytes: _Optional[int] = ..., power_mode: _Optional[str] = ..., fan_level: _Optional[int] = ..., time_in_state: _Optional[_Iterable[_Union[FrequencyTime, _Mapping]]] = ..., clocks_fixed: bool = ..., gpu_frequency_hz: _Optional[float] = ..., memory_frequency_hz: _Optional[float] = ...) -> None: ...

class FrequencyTime(_message.Message):
    __slots__ = ("frequency_hz", "duration_ms")
    FREQUENCY_HZ_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    frequency_hz: int
    duration_ms: int
    def __init__(self, frequency_hz: _Optional[int] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class LatencyBlock(_message.Message):
    __slots__ = ("round", "position", "start_ns", "run_ns")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    START_NS_FIELD_NUMBER: _ClassVar[int]
    RUN_NS_FIELD_NUMBER: _ClassVar[int]
    round: int
    position: int
    start_ns: int
    run_ns: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, round: _Optional[int] = ..., position: _Optional[int] = ..., start_ns: _Optional[int] = ..., run_ns: _Optional[_Iterable[int]] = ...) -> None: ...

class PowerWindow(_message.Message):
    __slots__ = ("kind", "round", "start_ns", "end_ns", "inferences", "timestamp_delta_ns", "power_uw", "bus_uv", "i2c_errors", "dropped", "clipped")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[PowerWindow.Kind]
        KIND_IDLE: _ClassVar[PowerWindow.Kind]
        KIND_BUSY: _ClassVar[PowerWindow.Kind]
    KIND_UNSPECIFIED: PowerWindow.Kind
    KIND_IDLE: PowerWindow.Kind
    KIND_BUSY: PowerWindow.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    START_NS_FIELD_NUMBER: _ClassVar[int]
    END_NS_FIELD_NUMBER: _ClassVar[int]
    INFERENCES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_DELTA_NS_FIELD_NUMBER: _ClassVar[int]
    POWER_UW_FIELD_NUMBER: _ClassVar[int]
    BUS_UV_FIELD_NUMBER: _ClassVar[int]
    I2C_ERRORS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    CLIPPED_FIELD_NUMBER: _ClassVar[int]
    kind: PowerWindow.Kind
    round: int
    start_ns: int
    end_ns: int
    inferences: int
    timestamp_delta_ns: _containers.RepeatedScalarFieldContainer[int]
    power_uw: _containers.RepeatedScalarFieldContainer[int]
    bus_uv: _containers.RepeatedScalarFieldContainer[int]
    i2c_errors: int
    dropped: int
    clipped: int
    def __init__(self, kind: _Optional[_Union[PowerWindow.Kind, str]] = ..., round: _Optional[int] = ..., start_ns: _Optional[int] = ..., end_ns: _Optional[int] = ..., inferences: _Optional[int] = ..., timestamp_delta_ns: _Optional[_Iterable[int]] = ..., power_uw: _Optional[_Iterable[int]] = ..., bus_uv: _Optional[_Iterable[int]] = ..., i2c_errors: _Optional[int] = ..., dropped: _Optional[int] = ..., clipped: _Optional[int] = ...) -> None: ...

class RuntimeUsed(_message.Message):
    __slots__ = ("name", "version", "provider", "threads", "options")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    provider: str
    threads: int
    options: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., provider: _Optional[str] = ..., threads: _Optional[int] = ..., options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CandidateResult(_message.Message):
    __slots__ = ("candidate_id", "purpose", "attempt", "model_sha256", "status", "message", "tags", "preset", "protocol_version", "job_id", "runtime", "load_ns", "first_run_ns", "output_error", "blocks", "meter_status", "meter", "windows", "before", "after", "peak_rss_bytes", "order_seed", "board_id", "boot_id", "agent_version", "anchor", "simulated", "operators", "anchor_ratio", "voided", "build_ns", "clock_mode")
    CANDIDATE_ID_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    LOAD_NS_FIELD_NUMBER: _ClassVar[int]
    FIRST_RUN_NS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ERROR_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    METER_STATUS_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    ORDER_SEED_FIELD_NUMBER: _ClassVar[int]
    BOARD_ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_RATIO_FIELD_NUMBER: _ClassVar[int]
    VOIDED_FIELD_NUMBER: _ClassVar[int]
    BUILD_NS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_MODE_FIELD_NUMBER: _ClassVar[int]
    candidate_id: str
    purpose: Purpose
    attempt: int
    model_sha256: str
    status: Status
    message: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    preset: str
    protocol_version: int
    job_id: str
    runtime: RuntimeUsed
    load_ns: int
    first_run_ns: int
    output_error: float
    blocks: _containers.RepeatedCompositeFieldContainer[LatencyBlock]
    meter_status: MeterStatus
    meter: MeterInfo
    windows: _containers.RepeatedCompositeFieldContainer[PowerWindow]
    before: Conditions
    after: Conditions
    peak_rss_bytes: int
    order_seed: int
    board_id: str
    boot_id: str
    agent_version: str
    anchor: bool
    simulated: bool
    operators: _containers.RepeatedCompositeFieldContainer[OperatorTime]
    anchor_ratio: float
    voided: int
    build_ns: int
    clock_mode: str
    def __init__(self, candidate_id: _Optional[str] = ..., purpose: _Optional[_Union[Purpose, str]] = ..., attempt: _Optional[int] = ..., model_sha256: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., message: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., preset: _Optional[str] = ..., protocol_version: _Optional[int] = ..., job_id: _Optional[str] = ..., runtime: _Optional[_Union[RuntimeUsed, _Mapping]] = ..., load_ns: _Optional[int] = ..., first_run_ns: _Optional[int] = ..., output_error: _Optional[float] = ..., blocks: _Optional[_Iterable[_Union[LatencyBlock, _Mapping]]] = ..., meter_status: _Optional[_Union[MeterStatus, str]] = ..., meter: _Optional[_Union[MeterInfo, _Mapping]] = ..., windows: _Optional[_Iterable[_Union[PowerWindow, _Mapping]]] = ..., before: _Optional[_Union[Conditions, _Mapping]] = ..., after: _Optional[_Union[Conditions, _Mapping]] = ..., peak_rss_bytes: _Optional[int] = ..., order_seed: _Optional[int] = ..., board_id: _Optional[str] = ..., boot_id: _Optional[str] = ..., agent_version: _Optional[str] = ..., anchor: bool = ..., simulated: bool = ..., operators: _Optional[_Iterable[_Union[OperatorTime, _Mapping]]] = ..., anchor_ratio: _Optional[float] = ..., voided: _Optional[int] = ..., build_ns: _Optional[int] = ..., clock_mode: _Optional[str] = ...) -> None: ...

class ComputeOutputsRequest(_message.Message):
    __slots__ = ("lease_id", "model_sha256", "inputs_sha256", "runtime")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    INPUTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    model_sha256: str
    inputs_sha256: str
    runtime: RuntimeOptions
    def __init__(self, lease_id: _Optional[str] = ..., model_sha256: _Optional[str] = ..., inputs_sha256: _Optional[str] = ..., runtime: _Optional[_Union[RuntimeOptions, _Mapping]] = ...) -> None: ...

class ComputeOutputsEvent(_message.Message):
    __slots__ = ("progress", "outputs", "done")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    progress: ComputeOutputsProgress
    outputs: bytes
    done: ComputeOutputsDone
    def __init__(self, progress: _Optional[_Union[ComputeOutputsProgress, _Mapping]] = ..., outputs: _Optional[bytes] = ..., done: _Optional[_Union[ComputeOutputsDone, _Mapping]] = ...) -> None: ...

class ComputeOutputsProgress(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    def __init__(self, rows: _Optional[int] = ...) -> None: ...

class ComputeOutputsDone(_message.Message):
    __slots__ = ("status", "message", "runtime")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    status: Status
    message: str
    runtime: RuntimeUsed
    def __init__(self, status: _Optional[_Union[Status, str]] = ..., message: _Optional[str] = ..., runtime: _Optional[_Union[RuntimeUsed, _Mapping]] = ...) -> None: ...

class OperatorTime(_message.Message):
    __slots__ = ("name", "op_type", "total_ns", "runs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OP_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_NS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    op_type: str
    total_ns: int
    runs: int
    def __init__(self, name: _Optional[str] = ..., op_type: _Optional[str] = ..., total_ns: _Optional[int] = ..., runs: _Optional[int] = ...) -> None: ...
