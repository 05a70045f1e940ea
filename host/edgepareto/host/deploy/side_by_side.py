"""Several boards at once, each in a thread of its own, while the caller's thread talks to the person there.

Questions and Ctrl-C belong to the caller's thread: one that waits for a password cannot be stopped from outside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from edgepareto.host.deploy.ask import Ask
from edgepareto.host.errors import DeployError

__all__ = ["Errand", "side_by_side"]

HEED_S = 0.2

Work = TypeVar("Work")
Result = TypeVar("Result")


class Errand:
    """What a board's thread has of the caller: a person to ask, who may also want it to end."""

    def __init__(self, questions: SimpleQueue[Callable[[], None]], stop: threading.Event, person: Ask | None) -> None:
        self._questions = questions
        self._stop = stop
        self._person = person

    @property
    def ask(self) -> Ask | None:
        return None if self._person is None else self

    def heed(self) -> None:
        """Raises DeployError after Ctrl-C; called where all can still be put back."""
        if self._stop.is_set():
            raise DeployError("stopped")

    def secret(self, prompt: str) -> str:
        person = self._person
        return "" if person is None else self._answer(lambda: person.secret(prompt))

    def confirm(self, question: str) -> bool:
        person = self._person
        return person is not None and self._answer(lambda: person.confirm(question))

    def _answer(self, put: Callable[[], Result]) -> Result:
        answers: SimpleQueue[Result] = SimpleQueue()
        self._questions.put(lambda: answers.put(put()))
        while True:
            self.heed()
            try:
                return answers.get(timeout=HEED_S)
            except Empty:
                continue


def side_by_side(
    works: Sequence[Work], do: Callable[[Work, Errand], Result], *, person: Ask | None
) -> tuple[Result, ...]:
    """What `do` makes of each. After Ctrl-C all are told to end and waited for; a second one waits no longer.

    Raises what Ctrl-C raised, or what `do` raised first.
    """
    questions: SimpleQueue[Callable[[], None]] = SimpleQueue()
    stop = threading.Event()
    errand = Errand(questions, stop, person)
    results: dict[int, Result] = {}
    failures: list[BaseException] = []

    def run(place: int) -> None:
        try:
            results[place] = do(works[place], errand)
        except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
            failures.append(error)

    # Daemons: a second Ctrl-C ends the process whatever they wait for.
    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(works))]
    ending = _attend(threads, list(threads), questions)
    if ending is not None:
        stop.set()
        _attend(threads, [], questions, is_last=True)
    if ending is not None or failures:
        raise ending or failures[0]
    return tuple(results[place] for place in range(len(works)))


def _attend(
    threads: Sequence[threading.Thread],
    waiting: list[threading.Thread],
    questions: SimpleQueue[Callable[[], None]],
    *,
    is_last: bool = False,
) -> BaseException | None:
    """Start those that wait and put the questions until all threads have ended, or until something ends us: Ctrl-C, as
    KeyboardInterrupt or as what a prompt makes of it. It may come between any two lines.
    """
    try:
        while waiting:
            waiting.pop(0).start()
        while any(thread.is_alive() for thread in threads):
            with suppress(Empty):
                put = questions.get(timeout=HEED_S)
                if not is_last:
                    put()
    except BaseException as error:
        if is_last:
            raise
        return error
    return None
