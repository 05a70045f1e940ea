"""Random small networks, node by node from a pool of live tensors: what no exporter wrote and no test was made for.

Every decision is a `pick`, so the same picks give the same network, whoever draws them: hypothesis, which also shrinks
them, or a seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from models.random_graphs import layers, operators, rearranging, structures
from models.random_graphs.builder import Builder, Pick, Rule, Tensor
from numpy.typing import NDArray

__all__ = ["RandomNet", "feeds_of", "random_net"]

Feeds = dict[str, NDArray[np.float32]]
MOST_CHANNELS = 64
MOST_VALUES = 1500  # of one sample's tensor

LAYERS: dict[int, tuple[Rule, ...]] = {2: layers.ON_ROWS, 3: layers.ON_SEQUENCES, 4: layers.ON_MAPS}  # by rank
BETWEEN: dict[int, tuple[Rule, ...]] = {
    2: (*operators.ON_ROWS, *rearranging.ON_ROWS),
    3: (*operators.ON_SEQUENCES, *rearranging.ON_SEQUENCES, *structures.ON_SEQUENCES),
    4: (*operators.ON_MAPS, *rearranging.ON_MAPS, *structures.ON_MAPS),
}
ANYWHERE: tuple[Rule, ...] = (*operators.ANYWHERE, *rearranging.ANYWHERE)
WILD: tuple[Rule, ...] = (*operators.WILD, *rearranging.WILD)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomNet:
    """quiet: a channel that is made as zero is read as zero. sums: channels are summed with no weights between."""

    model: onnx.ModelProto
    quiet: bool
    sums: bool


def random_net(pick: Pick) -> RandomNet:
    net = Builder(pick)
    kinds = [tensor for tensor in net.inputs if len(tensor.shape) > 2]
    net.pool.append((layers.conv if len(kinds[0].shape) == 4 else layers.matmul)(net, kinds[0]))
    wild = not pick(3)
    for _ in range(3 + pick(15)):
        data = net.recent()
        rank = len(data.shape)
        rules = (LAYERS[rank], LAYERS[rank], BETWEEN[rank], ANYWHERE, WILD if wild else ANYWHERE)[pick(5)]
        made = rules[pick(len(rules))](net, data)
        net.pool.extend(part for part in (made if isinstance(made, list) else [made]) if _fits(part))
    read = {name for node in net.nodes for name in node.input}
    loose = [tensor for tensor in net.pool if tensor.name not in read]
    ends = loose[-3:] or net.pool[-1:]
    last = [layers.head(net, tensor) if tensor in net.inputs or pick(8) else tensor for tensor in ends]
    return RandomNet(model=net.model(last), quiet=net.quiet, sums=net.sums)


def feeds_of(model: onnx.ModelProto, samples: int, seed: int = 0) -> Feeds:
    """Where height and width are free they are 6."""
    random = np.random.default_rng(seed)
    shapes = {
        value.name: [dimension.dim_value or 6 for dimension in value.type.tensor_type.shape.dim[1:]]
        for value in model.graph.input
    }
    return {name: random.normal(size=(samples, *shape)).astype(np.float32) for name, shape in shapes.items()}


def _fits(tensor: Tensor) -> bool:
    sample = tensor.shape[1:]
    return len(sample) in (1, 2, 3) and 0 < math.prod(sample) <= MOST_VALUES and sample[0] <= MOST_CHANNELS
