"""A power sampler that speaks the real one's protocol on the machine's clock and sees a constant load.

python fake_sampler.py LOG FAULTS: every line received goes to LOG; FAULTS has one letter per window, in order, ranging
left out: `.` is good, `c` clipped, at `x` the process dies; after its end all are good. `r` alone: the self-test fails;
`i` first: a meter that averages from sample to sample.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

METER = {"kind": "fake", "quality": "measured", "address": 64, "shunt_ohm": 0.1, "fault": None}
PERIOD_NS = 5_000_000


def main(log: Path, faults: str) -> int:
    if faults == "r":
        _say({"ready": False, "status": "METER_IO", "message": "errno 121 at 0x40", "meter": METER})
        return 1
    averages = faults.startswith("i")
    meter = METER | ({"averaging_s": PERIOD_NS * 1e-9} if averages else {})
    _say({"ready": True, "meter": meter})
    waiting = list(faults.removeprefix("i"))
    start_ns = 0
    for line in sys.stdin:
        with log.open("a") as file:
            file.write(line)
        command = json.loads(line)
        if "start_at_ns" in command:
            start_ns = command["start_at_ns"]
            continue
        ranging = command.get("fix_range", False)  # takes no letter
        fault = waiting.pop(0) if waiting and not ranging else "."
        if fault == "x":
            return 1
        instants = list(range(start_ns + PERIOD_NS, command["stop_at_ns"] + 1, PERIOD_NS))
        answer = {
            "status": "METER_CLIPPED" if fault == "c" else "METER_OK",
            "message": "3 samples at full scale" if fault == "c" else "",
            "timestamp_ns": instants,
            "power_uw": [2_500_000] * len(instants),
            "bus_uv": [5_000_000] * len(instants),
            "i2c_errors": 0,
            "dropped": 0,
            "clipped": 3 if fault == "c" else 0,
        }
        _say(answer | ({"meter": meter} if ranging else {}))
    return 0


def _say(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
