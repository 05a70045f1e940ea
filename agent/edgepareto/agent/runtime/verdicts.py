"""What every runtime says of a model in the same words."""

from __future__ import annotations

from edgepareto.agent.errors import Status, WorkerError

__all__ = ["one_line", "run_error", "wrong_provider"]

_MESSAGE_LENGTH = 400


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:_MESSAGE_LENGTH]


def run_error(text: str, *, is_out_of_memory: bool) -> WorkerError:
    """text: the runtime's own, of an inference that failed."""
    if is_out_of_memory:
        return WorkerError(Status.OOM, f"one inference does not fit in memory: {text}")
    return WorkerError(Status.LOAD_FAILED, f"the model does not run on the sample inputs: {text}")


def wrong_provider(wanted: str, seen: str) -> WorkerError:
    return WorkerError(Status.WRONG_PROVIDER, f"provider {wanted} was asked for, {seen}; choose one that it has")
