from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from edgepareto.agent.simulation.profile import Supply
from edgepareto.agent.simulation.timeline import TimelineReader, TimelineWriter, create_timeline
from hypothesis import given
from hypothesis import strategies as st

SUPPLY = Supply(open_circuit_v=5.1, source_ohm=0.05, shunt_ohm=0.1)
SEGMENTS = st.lists(st.tuples(st.integers(1, 10**10), st.floats(0.1, 30)), min_size=1, max_size=20)


@given(st.floats(-20, 40), st.floats(1, 24), st.floats(0, 0.2), st.floats(0, 0.2))
def test_what_the_board_draws_is_its_voltage_times_its_current(power_w, open_circuit_v, source_ohm, shunt_ohm):
    supply = Supply(open_circuit_v=open_circuit_v, source_ohm=source_ohm, shunt_ohm=shunt_ohm)
    if power_w < 0.99 * open_circuit_v**2 / 4 / max(1e-12, supply.resistance_ohm):  # what the source can give
        current_a = supply.current_a(power_w)
        assert supply.bus_v(current_a) * current_a == pytest.approx(power_w, rel=1e-6, abs=1e-6)


@given(SEGMENTS, st.floats(0, 0.99), st.floats(0.001, 1), st.integers(0, 20))
def test_the_mean_current_is_that_of_the_segments_however_they_arrive(segments, start_share, length_share, seen_first):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "timeline"
        create_timeline(path)
        writer, end_ns = TimelineWriter(path), 0
        reader: TimelineReader | None = None
        for number, (duration_ns, power_w) in enumerate(segments):
            if number == seen_first:
                reader = TimelineReader(path, SUPPLY)
            end_ns += duration_ns
            writer.append(end_ns, power_w)
        reader = reader or TimelineReader(path, SUPPLY)
        reader.refresh()
        start = start_share * end_ns
        end = start + max(1.0, length_share * (end_ns - start))
        end = min(end, end_ns)
        charge, before = 0.0, 0
        for duration_ns, power_w in segments:
            charge += SUPPLY.current_a(power_w) * max(0.0, min(end, before + duration_ns) - max(start, before))
            before += duration_ns
        assert reader.covered_ns == end_ns
        if end > start:
            assert reader.mean_current_a(start, end) * (end - start) == pytest.approx(charge, rel=1e-6, abs=1e-3)


def test_a_reader_forgets_the_batch_before(tmp_path: Path):
    path = tmp_path / "timeline"
    create_timeline(path)
    writer, reader = TimelineWriter(path), TimelineReader(path, SUPPLY)
    writer.append(1_000, 9.0)
    reader.refresh()
    assert writer.start_batch() == 1
    writer.append(400, 2.0)
    writer.append(2_000, 3.0)
    reader.refresh()
    assert reader.covered_ns == 2_000
    assert reader.mean_current_a(0, 400) == pytest.approx(SUPPLY.current_a(2.0))
