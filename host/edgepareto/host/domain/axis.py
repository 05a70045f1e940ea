"""One gene as algorithms see it, whatever it means."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Axis"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """`size` choices, indices from 0.

    values: what each index stands for, ascending; None: the choices have no order. is_size: the more, the more there is
    of everything, so that each objective changes one way along it; its values are not below 0. is_free: changes no
    file, only how it is run.
    """

    size: int
    values: tuple[float, ...] | None = None
    is_size: bool = False
    is_free: bool = False

    def __post_init__(self) -> None:
        assert self.size >= 1, self
        assert self.values is None or len(self.values) == self.size, self
        assert not self.is_size or (self.values is not None and self.values[0] >= 0 and self.values[-1] > 0), self
