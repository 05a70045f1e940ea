"""One round of measuring on all devices: a generation of the search, or of the end phase.

The host makes and scores candidates while the boards measure those that are made. Neither a batch nor an order depends
on who is ready first, so `serially` gives the same rows; it is what the pipeline is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from contextlib import suppress

from edgepareto.host.study.device_search import DeviceSearch
from edgepareto.host.study.workshop import Workshop

__all__ = ["RunRound", "Work", "pipelined", "serially"]

Work = Mapping[DeviceSearch, Callable[[], None]]
RunRound = Callable[[Workshop, ThreadPoolExecutor, Work], None]


def pipelined(workshop: Workshop, threads: ThreadPoolExecutor, work: Work) -> None:
    """Ends when everything begun is measured, made and scored. Raises at once what ended a device or the preparation.

    Devices work side by side; then, one after the other and the host at rest, those whose numbers the host's own work
    would spoil.
    """
    alone = [device for device in work if device.computes_on_the_host]
    measuring = {threads.submit(do) for device, do in work.items() if device not in alone}
    waiting = measuring | workshop.in_work
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            with suppress(CancelledError):  # forgotten
                future.result()
        if not alone and not measuring & waiting and not any(device.is_searching for device in work):
            # All are lost or out of time: what was measured is worth its score, the rest is not worth making.
            workshop.forget(frozenset().union(*(device.batches.by_candidate for device in work)))
    workshop.wait()
    for device in alone:
        threads.submit(work[device]).result()


def serially(workshop: Workshop, threads: ThreadPoolExecutor, work: Work) -> None:
    """As `pipelined`, with nothing measured before everything is made and scored."""
    workshop.wait()
    pipelined(workshop, threads, work)
