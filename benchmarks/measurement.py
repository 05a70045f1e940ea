"""Are our measurements what docs/measurement.md promises? Those acceptance tests that need a real clock, and some more.

    python benchmarks/measurement.py [--only t17,t15] [--quick | --long]

Prints pass or fail for each and ends with 1 where something failed. This machine is measured as a shared one. Ten
minutes; --quick is a first look in two, --long takes hours: ten minutes of pings, 10,000 measurements on the virtual
board, 200 on this machine, the `standard` preset for T17.

t4     square waves on the INA219 chip model, at three chip clocks; T5, the naive 10 Hz sampler beside it
t17    ten models a few percent apart: does a second job rank them alike?
loop   the agent's latency against a tight loop of the same model, interleaved
t15    does reading the meter change the latency that is measured beside it?
t21    a quiet stream with pings is not cut off
board  many measurements on the virtual board leave nothing behind
local  nor do measurements on this machine
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from markdown_table import markdown_table
from measurement_connection import quiet_stream
from measurement_leaks import leaks
from measurement_meter import square_waves
from measurement_overhead import agent_against_tight_loop, sampler_on_and_off
from measurement_ranking import ranking
from measurement_verdict import Verdict

Check = Callable[[], list[Verdict]]
QUICK, NORMAL, LONG = range(3)
BOARD = ("--simulate", "raspberry-pi-4b")
LOCAL = ("--local",)


def checks(effort: int) -> Mapping[str, Check]:
    """By name, in the order in which they are run."""

    def chosen(quick: int, normal: int, long: int) -> int:
        return (quick, normal, long)[effort]

    return {
        "t4": square_waves,
        "t17": lambda: ranking(chosen(4, 10, 10), preset="standard" if effort == LONG else None),
        "loop": lambda: agent_against_tight_loop(chosen(2, 5, 5), chosen(8, 12, 24)),
        "t15": lambda: sampler_on_and_off(chosen(1, 3, 9), chosen(40, 120, 120)),
        "t21": lambda: quiet_stream(chosen(60, 60, 630)),
        "board": lambda: leaks("virtual board", BOARD, chosen(36, 300, 10_000)),
        "local": lambda: leaks("this machine", LOCAL, chosen(24, 36, 200)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    names, effort = parse(arguments)
    known = checks(effort)
    verdicts: list[Verdict] = []
    for name in names:
        started = time.monotonic()
        verdicts += known[name]()
        print(f"{name}: {time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    rows = [[verdict.check, verdict.seen, verdict.bar, verdict.word] for verdict in verdicts]
    print(f"\n{markdown_table(['check', 'seen', 'bar', ''], rows)}")
    failed = [verdict.check for verdict in verdicts if verdict.passed is False]
    print(f"\nfailed: {'; '.join(failed)}" if failed else "\nall passed")
    return 1 if failed else 0


def parse(arguments: Sequence[str] | None) -> tuple[tuple[str, ...], int]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s [options]"
    )
    known = tuple(checks(NORMAL))
    parser.add_argument("--only", default=",".join(known), metavar="NAME,NAME", help="some of them")
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--quick", action="store_const", dest="effort", const=QUICK, default=NORMAL)
    how_much.add_argument("--long", action="store_const", dest="effort", const=LONG)
    parsed = parser.parse_args(arguments)
    names = tuple(parsed.only.split(","))
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no check '{unknown[0]}'; known: {', '.join(known)}")
    return names, parsed.effort


if __name__ == "__main__":
    sys.exit(main())
