"""The level that drift is told from: the first batches of a boot under one governor, and nothing that came later."""

from __future__ import annotations

from dataclasses import replace

from edgepareto.host.domain import AnchorBaseline, Conditions, LatencyBlock, ProfileTrace, Status
from edgepareto.host.study.anchor_baseline import AnchorBaselines
from fakes.jobs import TRACE


def took(*block_medians_ns: int, boot: str = "one", governor: str | None = "performance") -> ProfileTrace:
    blocks = tuple(
        LatencyBlock(round=i, position=0, start_ns=0, run_ns=(ns - 1, ns, ns + 900))
        for i, ns in enumerate(block_medians_ns)
    )
    return replace(TRACE, blocks=blocks, boot_id=boot, before=Conditions(governor=governor))


def learnt(*traces: ProfileTrace) -> AnchorBaseline | None:
    baselines = AnchorBaselines()
    for trace in traces:
        baselines.learn(trace)
    return baselines.present()


def test_it_is_the_median_of_the_block_medians_of_the_first_three_batches():
    first = (took(100, 110), took(104, 300), took(102))
    assert learnt() is None
    assert learnt(*first[:2]) is None
    expected = AnchorBaseline(latency_ns=104, boot_id="one", governor="performance")
    assert learnt(*first) == expected
    assert learnt(*first, *[took(500)] * 20) == expected, "never silently re-based"


def test_batches_that_are_not_usable_teach_nothing():
    void = replace(took(900), status=Status.THROTTLED)
    silent = replace(took(900), blocks=())
    assert learnt(took(100), void, silent, took(100)) is None
    found = learnt(took(100), void, took(102), silent, took(104))
    assert found is not None
    assert found.latency_ns == 102


def test_every_boot_and_governor_has_its_own_and_an_old_one_is_remembered():
    before = [took(100)] * 3
    slow = {"boot": "one", "governor": "powersave"}
    assert learnt(*before, took(200, **slow)) is None
    assert learnt(*before, *[took(200, **slow)] * 3) == AnchorBaseline(
        latency_ns=200, boot_id="one", governor="powersave"
    )
    assert learnt(*before, took(90, boot="two", governor=None)) is None
    assert learnt(*before, *[took(200, **slow)] * 2, took(100)) == learnt(*before)


def test_what_was_measured_in_another_clock_mode_is_another_baseline():
    """Also where both have one governor, by which the agent could not tell them apart."""
    baselines = AnchorBaselines()
    for slow_ns, fast_ns in ((300, 100), (302, 104), (304, 102)):
        baselines.learn(replace(took(slow_ns), clock_mode="600MHz"))
        assert baselines.present("1800MHz") is None
        baselines.learn(replace(took(fast_ns), clock_mode="1800MHz"))
    levels = {mode: baselines.present(mode) for mode in ("600MHz", "1800MHz", "")}
    assert {mode: level and level.latency_ns for mode, level in levels.items()} == {
        "600MHz": 302,
        "1800MHz": 102,
        "": None,
    }
