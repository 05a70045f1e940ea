from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from edgepareto.host.deploy.side_by_side import Errand, side_by_side
from edgepareto.host.errors import DeployError

PATIENCE_S = 20.0


class Person:
    """threads: in which the questions were put."""

    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()

    def secret(self, prompt: str) -> str:
        self.threads.add(threading.current_thread())
        return f"answer to {prompt}"

    def confirm(self, question: str) -> bool:
        self.threads.add(threading.current_thread())
        return True


class Abort(Exception):
    """What a prompt makes of Ctrl-C."""


class Interrupting(Person):
    def secret(self, prompt: str) -> str:
        raise Abort


def heeding(name: str, errand: Errand, ended: list[str]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline_s:
            errand.heed()
            time.sleep(0.01)
    except DeployError:
        ended.append(name)
        raise


def test_results_come_in_the_order_of_the_boards_and_questions_are_put_by_the_caller():
    person = Person()

    def work(name: str, errand: Errand) -> str:
        assert errand.ask is not None
        return errand.ask.secret(name) if errand.ask.confirm("well?") else ""

    assert side_by_side(["a", "b", "c"], work, person=person) == ("answer to a", "answer to b", "answer to c")
    assert person.threads == {threading.current_thread()}


def test_without_a_person_there_is_nobody_to_ask():
    assert side_by_side(["a"], lambda name, errand: errand.ask, person=None) == (None,)


def test_ctrl_c_tells_every_board_and_waits_for_all():
    ended: list[str] = []
    running = threading.Barrier(3)

    def work(name: str, errand: Errand) -> None:
        running.wait(PATIENCE_S)
        heeding(name, errand, ended)

    def interrupt() -> None:
        running.wait(PATIENCE_S)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side(["a", "b"], work, person=None)
    assert sorted(ended) == ["a", "b"]


def test_a_question_that_ends_in_ctrl_c_ends_the_boards_that_ask_nothing_too():
    ended: list[str] = []

    def work(name: str, errand: Errand) -> None:
        assert errand.ask is not None
        if name == "asks":
            errand.ask.secret("password")
        heeding(name, errand, ended)

    with pytest.raises(Abort):
        side_by_side(["asks", "works"], work, person=Interrupting())
    assert ended == ["works"]


def test_a_mistake_of_ours_is_not_swallowed():
    def work(name: str, errand: Errand) -> None:
        raise ZeroDivisionError(name)

    with pytest.raises(ZeroDivisionError):
        side_by_side(["a", "b"], work, person=None)
