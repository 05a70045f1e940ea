"""Shapes with symbols: which unknown sizes are the same, where ONNX's inference gives each a new name.

One pass in graph order follows shapes and the sizes computed from them together, because each needs the other: a
Reshape has the shape that a Concat of sizes says, and those sizes may come from a tensor that was reshaped before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import onnx
from edgepareto.host.pruning.normal_form.graph_names import DEFAULT_DOMAINS
from edgepareto.host.pruning.normal_form.shape_rules import RULES, Guess, NamedShape
from edgepareto.host.pruning.normal_form.symbolic_sizes import Size, Sizes, constant_sizes, sizes_after

__all__ = ["follow_shapes"]


def follow_shapes(
    graph: onnx.GraphProto, shapes: Mapping[str, Sequence[int | str | None]], types: Mapping[str, int]
) -> tuple[dict[str, NamedShape], dict[str, Sizes]]:
    """Shapes of all tensors of known rank, and the values of those that hold sizes.

    shapes: as inferred; a number stands, and a name stands where an input has it. Any other size is worked out, or else
    is called after its tensor and axis.
    """
    inputs = [value.name for value in graph.input]
    given = {size for name in inputs for size in shapes.get(name, ()) if isinstance(size, str)}
    named: dict[str, NamedShape] = {}

    def name_sizes(tensor: str, guess: Guess | None) -> None:
        shape = shapes.get(tensor)
        if shape is None and (guess is None or None in guess):
            return
        sizes = shape if shape is not None else (None,) * len(guess or ())
        if guess is None or len(guess) != len(sizes):
            guess = (None,) * len(sizes)
        named[tensor] = tuple(
            _known(size, given) or other or Size(Fraction(1), (f"{tensor}[{axis}]",))
            for axis, (size, other) in enumerate(zip(sizes, guess, strict=True))
        )

    for tensor in (*inputs, *(initializer.name for initializer in graph.initializer)):
        name_sizes(tensor, None)
    values = constant_sizes(graph)
    for node in graph.node:
        guesses: Sequence[Guess] = ()
        if node.domain in DEFAULT_DOMAINS:
            value = sizes_after(node, named, values, types)
            if value is not None:
                values[node.output[0]] = value
            guesses = _guesses(node, named, values)
        for position, tensor in enumerate(node.output):
            name_sizes(tensor, guesses[min(position, len(guesses) - 1)] if guesses else None)
    return named, values


def _known(size: int | str | None, given: set[str]) -> Size | None:
    if isinstance(size, int):
        return Size(Fraction(size))
    return Size(Fraction(1), (size,)) if size is not None and size in given else None


def _guesses(node: onnx.NodeProto, named: Mapping[str, NamedShape], values: Mapping[str, Sizes]) -> Sequence[Guess]:
    """A shape per output; the last one stands for all that follow."""
    rule = RULES.get(node.op_type)
    if rule is None or not node.input:
        return ()
    needed = node.input[:1] if node.op_type in ("Reshape", "Expand") else [name for name in node.input if name]
    known = [named[name] for name in needed if name in named]
    if len(known) < len(needed) and node.op_type != "Reshape":
        return ()
    return rule(node, known, [values.get(name) for name in node.input])
