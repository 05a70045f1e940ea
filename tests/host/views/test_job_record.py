"""What `host profile --json` tells of a job: everything that is known, nothing that is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from edgepareto.host.domain import Conditions, reduce_trace
from edgepareto.host.views.job_record import job_record
from fakes.jobs import TRACE


def test_every_field_of_a_result_is_told_in_si_units_and_survives_json() -> None:
    before = Conditions(temperature_c=41.5, throttle_bits=0, time_in_state=((600_000_000, 70),))
    told = job_record(
        reduce_trace(
            replace(
                TRACE,
                before=before,
                build_ns=42_000_000_000,
                load_ns=5_000_000,
                anchor_ratio=1.01,
                voided=2,
                protocol=3,
                output_error=2e-6,
            )
        )
    )
    assert json.loads(json.dumps(told)) == told
    assert told["block_medians_s"] == pytest.approx([0.011, 0.013, 0.012])
    assert told["build_s"] == 42
    assert (told["load_s"], told["anchor_ratio"], told["voided"], told["protocol"]) == (0.005, 1.01, 2, 3)
    in_state = [{"frequency_hz": 600_000_000, "seconds": pytest.approx(0.07)}]
    assert told["before"] == {"temperature_c": 41.5, "throttle_bits": 0, "time_in_state_s": in_state}
    assert told["output_error"] == 2e-6
    assert told["meter"] == {"kind": "ina219", "quality": "measured", "shunt_ohm": 0.1, "config": 0x19DF}
    assert {"energy_systematic_j", "dynamic_energy_low_j", "lowest_bus_v", "largest_gap_s", "sample_rate_hz"} <= set(
        told
    )


def test_what_is_unknown_is_absent() -> None:
    told = job_record(reduce_trace(replace(TRACE, windows=(), meter=None)))
    absent = {"after", "before", "meter", "energy_j", "build_s", "load_s", "latency_p90_s", "anchor_ratio", "voided"}
    assert not absent & set(told)
    assert None not in told.values()
