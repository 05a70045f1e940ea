"""What a card says of the jobs behind a number."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edgepareto.host.domain import Conditions, RuntimeUsed, Status, circumstances, reduce_trace
from fakes.jobs import TRACE, window

RUNTIME = RuntimeUsed(name="onnxruntime", version="1.23", provider="CPUExecutionProvider", threads=1, options=())


def test_extremes_of_the_conditions_and_medians_of_the_numbers_are_kept_and_failures_counted() -> None:
    jobs = [
        reduce_trace(
            replace(
                TRACE,
                boot_id=boot,
                runtime=RUNTIME,
                load_ns=load_ns,
                windows=(window(busy=True, watts=3.0, bus_v=bus_v),),
                before=Conditions(temperature_c=before_c, governor="performance", throttle_bits=1 << 16),
                after=Conditions(temperature_c=after_c, governor="performance", throttle_bits=1 << 18),
                anchor_ratio=ratio,
                voided=1,
                peak_rss_bytes=rss,
            )
        )
        for boot, load_ns, bus_v, before_c, after_c, ratio, rss in [
            ("a", 1_000_000, 5.0, 40.0, 55.0, 1.00, 10),
            ("a", 3_000_000, 4.8, 41.0, 61.0, 1.02, 30),
            ("b", 2_000_000, 5.0, 39.0, 50.0, None, 20),
        ]
    ]
    failed = reduce_trace(replace(TRACE, status=Status.TOO_HOT, before=Conditions(temperature_c=90.0)))
    found = circumstances([failed, *jobs])
    assert (found.temperature_low_c, found.temperature_high_c) == (39.0, 61.0)
    assert (found.anchor_ratio_low, found.anchor_ratio_high) == (1.00, 1.02)
    assert (found.load_s, found.lowest_bus_v) == pytest.approx((0.002, 4.796))
    assert (found.peak_rss_bytes, found.voided, found.retries, found.boots) == (30, 3, 1, 2)
    assert found.throttle_bits == 1 << 16 | 1 << 18
    assert found.governors == ("performance",)
    assert found.runtimes == ("onnxruntime 1.23 CPUExecutionProvider",)


def test_what_no_board_told_is_absent() -> None:
    found = circumstances([reduce_trace(replace(TRACE, meter=None, windows=()))])
    unknown = (found.temperature_high_c, found.throttle_bits, found.dropped, found.meter, found.load_s, found.power_w)
    assert unknown == (None,) * 6
    assert (found.governors, found.power_modes, found.runtimes) == ((), (), ())
