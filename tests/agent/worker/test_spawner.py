"""Real processes: how a child that crashes, hangs, chatters or has children of its own is noticed and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgepareto.agent.worker import Cancelled, Child, ChildGone, ChildSilent, spawn

Start = Callable[[str], Child]


@pytest.fixture
def start() -> Iterator[Start]:
    children: list[Child] = []

    def run(script: str) -> Child:
        children.append(spawn([sys.executable, "-c", script]))
        return children[-1]

    yield run
    for child in children:
        child.kill()


def never() -> bool:
    return False


def test_lines_go_both_ways_and_several_at_once_are_kept_apart(start: Start) -> None:
    child = start("for line in iter(input, 'end'): print(line, line.upper(), sep='\\n', flush=True)")
    child.send("a")
    child.send("ü")
    assert [child.receive(10, never) for _ in range(4)] == ["a", "A", "ü", "Ü"]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("import sys; sys.exit('no such library')", "exited 1: no such library"),
        ("import os; os.abort()", "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    ],
)
def test_how_a_child_ended_is_told(script: str, told: str, start: Start) -> None:
    with pytest.raises(ChildGone, match=told) as caught:
        start(script).receive(10, never)
    assert not caught.value.out_of_memory, "a kill is the kernel's only where it counted one"


def test_a_command_to_a_dead_child_tells_how_it_ended(start: Start) -> None:
    child = start("raise SystemExit(3)")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ChildGone, match="exited 3"):
        child.send("hello")


def test_a_silent_child_is_left_after_the_deadline_and_is_not_yet_ended(start: Start) -> None:
    child = start("input()")
    before = time.monotonic()
    with pytest.raises(ChildSilent):
        child.receive(0.05, never)
    assert time.monotonic() - before < 5
    assert os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None


def test_a_wait_is_called_off_at_once(start: Start) -> None:
    child = start("input()")
    before = time.monotonic()
    with pytest.raises(Cancelled):
        child.receive(1000, lambda: True)
    assert time.monotonic() - before < 5


def test_an_endless_line_does_not_fill_the_memory(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgepareto.agent.worker.spawner.LONGEST_LINE", 1 << 20)
    child = start("import sys\nwhile True: sys.stdout.write('x' * 65536)")
    with pytest.raises(ChildGone, match="more than 1048576 bytes"):
        child.receive(60, never)


def test_killing_a_child_kills_its_children_also_when_it_is_dead_already(start: Start) -> None:
    child = start(
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(p.pid, flush=True)\n"
        "import os; os.abort()"
    )
    grandchild = int(child.receive(10, never))
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_running(grandchild)
    child.kill()
    child.kill()
    wait_until(lambda: not is_running(grandchild))


def test_a_child_that_forks_without_end_is_killed_with_all_that_it_forked(start: Start) -> None:
    """T19, the fork bomb; bounded, for this machine's sake: eight at a time, each of which forks and ends."""
    child = start(
        "import os, signal, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "print('forking', flush=True)\n"
        "if any(os.fork() == 0 for _ in range(8)):\n"
        "    while True:\n"
        "        if os.fork(): os._exit(0)\n"
        "time.sleep(60)"
    )
    assert child.receive(10, never) == "forking"
    group = child.pid
    wait_until(lambda: len(members(group)) > 4)
    child.kill()
    wait_until(lambda: not any(members(group) for _ in range(3)))  # one look may miss what is being forked
    assert start("print('next')").receive(5, never) == "next"


def test_a_worker_ends_with_the_agent_that_is_killed_and_with_its_pipe(tmp_path: Path) -> None:
    agent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from edgepareto.agent.worker import spawn\n"
            "child = spawn([sys.executable, '-m', 'edgepareto.agent.worker', '--runtime', 'onnxruntime', "
            "'--threads', '1', '--provider', 'CPUExecutionProvider', '--job', 'c/search/0'])\n"
            "child.receive(60, lambda: False)\n"
            "print(child.pid, flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert agent.stdin is not None
    assert agent.stdout is not None
    with agent.stdin, agent.stdout:
        worker = int(agent.stdout.readline())
        assert os.getpgid(worker) == worker, "it leads a process group of its own"
        assert Path(f"/proc/{worker}/oom_score_adj").read_text() == "1000\n"
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    wait_until(lambda: not is_running(worker))


def members(group: int) -> list[int]:
    """The processes of a group, those that are only waiting to be reaped left out."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, pgrp = (process / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(process.name))
    return found


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, "it did not happen within 10 s"
        os.sched_yield()
