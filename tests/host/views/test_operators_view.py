"""Times per operator, on screen and in JSON, from values that are known."""

from __future__ import annotations

from edgepareto.host.domain import OperatorTime
from edgepareto.host.views.operators_view import TimedModel, operator_record, operator_tables
from rich.console import Console


def model(name: str, latency_us: float | None, *operators: tuple[str, str, float]) -> TimedModel:
    """operators: node, type, microseconds per run."""
    timed = (OperatorTime(name=n, op_type=t, total_ns=round(us * 4000), runs=4) for n, t, us in operators)
    return TimedModel(name=name, latency_s=None if latency_us is None else latency_us * 1e-6, operators=tuple(timed))


DENSE = model("dense", 500, ("stem", "Conv", 100), ("deep", "Conv", 250), ("flat", "Reshape", 50))
SMALL = model("small", 480, ("stem", "Conv", 100), ("deep", "Conv", 240), ("turn", "Transpose", 60))


def shown(*models: TimedModel) -> list[str]:
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as capture:
        for part in operator_tables("pi1", models):
            console.print(part)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_the_costliest_type_and_node_come_first_with_the_running_sum() -> None:
    lines = shown(DENSE)
    assert lines.index("Conv 350 µs 87.5 % 87.5 %") < lines.index("Reshape 50 µs 12.5 % 100.0 %")
    assert lines.index("deep Conv 250 µs 62.5 % 62.5 %") < lines.index("stem Conv 100 µs 25.0 % 87.5 %")
    assert "dense: operators 400 µs of 500 µs latency; the rest, 100 µs (20.0 %), is between operators" in lines


def test_models_stand_side_by_side_and_what_one_does_not_have_is_a_dash() -> None:
    lines = shown(DENSE, SMALL)
    assert "deep Conv 250 µs 62.5 % 240 µs 60.0 %" in lines
    assert "Transpose – – 60 µs 15.0 %" in lines
    assert "Reshape 50 µs 12.5 % – –" in lines


def test_json_has_every_node_and_the_rest_only_where_there_is_one() -> None:
    record = operator_record(DENSE)
    assert [(o["name"], o["op_type"]) for o in record["operators"]] == [  # type: ignore[index]
        ("deep", "Conv"),
        ("stem", "Conv"),
        ("flat", "Reshape"),
    ]
    assert record["operators_s"] == 400e-6
    assert round(record["dispatch_s"], 9) == 100e-6  # type: ignore[call-overload]
    slower_when_profiled = model("dense", 300, ("stem", "Conv", 310))
    assert "dispatch_s" not in operator_record(slower_when_profiled)
    assert operator_record(model("dense", 300)) == {}


def test_a_model_whose_operators_the_runtime_could_not_tell_is_named() -> None:
    assert shown(model("dense", 300)) == ["! dense: the runtime could not tell the time of its operators"]
    assert shown(model("failed", None)) == []
