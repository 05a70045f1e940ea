"""Real processes: how a child that crashes, hangs, chatters or has children of its own is noticed and ended.

Every test runs a child that the agent exec'd and one that a service manager started for its connection.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgepareto.agent.worker import Cancelled, Child, ChildGone, ChildSilent, ServiceSpawn, spawn
from fakes.worker_service import serving_workers

Start = Callable[[str], Child]
ADMITTED = "import faulthandler; from edgepareto.agent.worker.admission import take_request; take_request()\n"
WORKER = [sys.executable, "-m", "edgepareto.agent.worker"]


@pytest.fixture(params=["exec", "service"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(how: str, tmp_path: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as ending:

        def run(script: str) -> Child:
            if how == "exec":
                child: Child = spawn([sys.executable, "-c", script])
            else:
                path = tmp_path / f"worker-{time.monotonic_ns()}.sock"
                ending.enter_context(serving_workers(path, [sys.executable, "-c", ADMITTED + script]))
                child = ServiceSpawn(path)(WORKER)
            ending.callback(child.kill)
            return child

        yield run


def never() -> bool:
    return False


def test_lines_go_both_ways_and_several_at_once_are_kept_apart(start: Start) -> None:
    child = start("for line in iter(input, 'end'): print(line, line.upper(), sep='\\n', flush=True)")
    child.send("a")
    child.send("ü")
    assert [child.receive(10, never) for _ in range(4)] == ["a", "A", "ü", "Ü"]


@pytest.mark.parametrize(
    ("script", "by_exec", "by_service"),
    [
        ("import sys; sys.exit('no such library')", "it exited 1: no such library", "it ended: no such library"),
        ("import os; os.abort()", "it was ended by SIGABRT", "it ended without a word"),
        (
            "import faulthandler, ctypes; faulthandler.enable(); ctypes.string_at(0)",
            "it was ended by SIGSEGV: Fatal Python error: Segmentation fault",
            "it ended: Fatal Python error: Segmentation fault",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", "it ended without a word"),
    ],
)
def test_how_a_child_ended_is_told(script: str, by_exec: str, by_service: str, how: str, start: Start) -> None:
    with pytest.raises(ChildGone, match=by_exec if how == "exec" else by_service) as caught:
        start(script).receive(10, never)
    assert not caught.value.out_of_memory, "a kill is the kernel's only where it counted one"


def test_a_child_whose_allocation_failed_ran_out_of_memory(start: Start) -> None:
    script = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28)); bytearray(1 << 30)"
    with pytest.raises(ChildGone, match="MemoryError") as caught:
        start(script).receive(10, never)
    assert caught.value.out_of_memory


def test_a_kill_that_the_kernel_counted_as_one_for_memory_is_told_as_such(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = [3, 4]
    for module in ("spawner", "service"):
        monkeypatch.setattr(f"edgepareto.agent.worker.{module}.oom_kills", lambda: counted.pop(0))
    child = start("import os, signal, sys; sys.stderr.write('W: a word'); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ChildGone) as caught:
        child.receive(10, never)
    assert caught.value.out_of_memory


def test_a_crash_that_reports_itself_is_none_of_the_kernels_kills(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = [3, 4]  # another program's
    for module in ("spawner", "service"):
        monkeypatch.setattr(f"edgepareto.agent.worker.{module}.oom_kills", lambda: counted.pop(0))
    with pytest.raises(ChildGone, match="ValueError: no") as caught:
        start("raise ValueError('no')").receive(10, never)
    assert not caught.value.out_of_memory


def test_a_command_to_a_dead_child_tells_how_it_ended(how: str, start: Start) -> None:
    child = start("print('soon', flush=True); raise SystemExit('for a reason')")
    assert child.receive(10, never) == "soon"
    wait_until(lambda: not is_running(pid_of(child)))
    with pytest.raises(ChildGone, match="for a reason"):
        child.send("hello")


def test_a_silent_child_is_left_after_the_deadline_and_is_not_yet_ended(start: Start) -> None:
    child = start("print('ready', flush=True); input()")
    child.receive(10, never)
    before = time.monotonic()
    with pytest.raises(ChildSilent):
        child.receive(0.05, never)
    assert time.monotonic() - before < 5
    assert is_running(pid_of(child))


def test_a_wait_is_called_off_at_once(start: Start) -> None:
    child = start("input()")
    before = time.monotonic()
    with pytest.raises(Cancelled):
        child.receive(1000, lambda: True)
    assert time.monotonic() - before < 5


def test_an_endless_line_does_not_fill_the_memory(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgepareto.agent.worker.child.LONGEST_LINE", 1 << 20)
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
    wait_until(lambda: not is_running(pid_of(child)))
    child.kill()
    child.kill()
    wait_until(lambda: not is_running(grandchild))


def test_a_child_that_forks_without_end_is_killed_with_all_that_it_forked(start: Start) -> None:
    """T19, the fork bomb; bounded, for this machine's sake: eight at a time, each of which forks and ends."""
    child = start(
        "import itertools, os, signal, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "if any(os.fork() == 0 for _ in range(8)):\n"
        "    for generation in itertools.count():\n"
        "        if generation < 5: os.write(1, b'forked\\n')\n"
        "        if os.fork(): os._exit(0)\n"
        "time.sleep(60)"
    )
    # They say so themselves: a look at /proc misses processes that live for less than the look takes.
    assert [child.receive(10, never) for _ in range(8 * 5)] == ["forked"] * 40
    group = pid_of(child)
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


def test_what_a_child_has_used_is_known_after_its_end(how: str, start: Start) -> None:
    """An exec'd one is in the agent's own times (os.times, children), which no service's worker is."""
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True); input()"
    before_s = children_s()
    child = start(burn)
    assert child.receive(60, never) == "burnt"
    assert child.ended_ticks == 0, "it is still running, so /proc tells"
    child.kill()
    known_s = child.ended_ticks / os.sysconf("SC_CLK_TCK") if how == "service" else children_s() - before_s
    assert (child.ended_ticks > 0) == (how == "service")
    assert 0.2 < known_s < 5


def test_a_worker_leaves_nothing_in_its_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime 1.32 reports its use to its makers, and keeps an identifier of the machine there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    options = ["--runtime=onnxruntime", "--threads=1", "--provider=CPUExecutionProvider", "--job=c/search/0"]
    child = spawn([*WORKER, *options])
    child.receive(60, never)
    child.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_nobody_serves_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ChildGone, match=r"by .*/worker\.sock: No such file or directory; on the board, systemctl"
    ) as caught:
        ServiceSpawn(tmp_path / "worker.sock")(WORKER)
    assert "\n" not in str(caught.value)


def children_s() -> float:
    """CPU time of the children that were reaped."""
    times = os.times()
    return times.children_user + times.children_system


def pid_of(child: Child) -> int:
    assert child.pid is not None
    return child.pid


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
