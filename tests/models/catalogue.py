"""Every network that is committed here: where its file is, what it takes, and how to make inputs for it.

Needs numpy only; the scripts that make the files live beside it and need torch.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARCHITECTURES", "FIXTURES", "Architecture", "Fixture", "Input", "fixtures_of"]

FOLDER = Path(__file__).parent
Feeds = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """shape: None is the batch. below: whole numbers (int64) in [0, below); None: float32, standard normal."""

    name: str
    shape: tuple[int | None, ...]
    below: int | None = None

    def drawn(self, batch: int, random: np.random.Generator) -> NDArray[np.generic]:
        shape = [batch if size is None else size for size in self.shape]
        if self.below is not None:
            return random.integers(self.below, size=shape, dtype=np.int64)
        return random.standard_normal(shape, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """fixed_batch: the only batch that the exported files take; None: any."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...] = ("logits",)
    fixed_batch: int | None = None

    def feeds(self, *, batch: int = 1, seed: int = 0) -> Feeds:
        """Inputs that depend on the architecture's name and the seed alone.

        Raises ValueError where the files take another batch.
        """
        if self.fixed_batch not in (None, batch):
            raise ValueError(f"{self.name} takes batches of {self.fixed_batch}, not {batch}")
        random = np.random.default_rng((zlib.crc32(self.name.encode()), seed))
        return {each.name: each.drawn(batch, random) for each in self.inputs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """One file: an architecture by one exporter ("legacy", "dynamo")."""

    architecture: Architecture
    exporter: str

    @property
    def name(self) -> str:
        return f"{self.architecture.name}.{self.exporter}"

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.onnx"

    def __str__(self) -> str:
        return self.name


def fixtures_of(*names: str) -> tuple[Fixture, ...]:
    """The files of the architectures with these names; for `pytest.mark.parametrize(..., ids=str)`."""
    unknown = set(names) - {architecture.name for architecture in ARCHITECTURES}
    if unknown:
        raise KeyError(f"no architecture is called {sorted(unknown)}")
    return tuple(fixture for fixture in FIXTURES if fixture.architecture.name in names)


def _image(size: int, *, name: str = "image", channels: int = 3) -> Input:
    return Input(name=name, shape=(None, channels, size, size))


def _sequence(steps: int, features: int) -> Input:
    return Input(name="sequence", shape=(None, steps, features))


ARCHITECTURES: tuple[Architecture, ...] = (
    *(
        Architecture(name=name, inputs=(_image(32),))
        for name in (
            "resnet_basic", "resnet_bottleneck", "bn_kept", "resnext", "regnet", "mobilenet_v2", "mobilenet_v3",
            "efficientnet", "densenet", "googlenet", "shufflenet_v1", "shufflenet_v2", "hrnet", "convnext",
            "unet_transposed", "unet_resize", "single_channel_output", "prelu_net", "cascaded_concat", "channel_scale",
        )
    ),
    Architecture(name="ghostnet", inputs=(_image(32),), fixed_batch=1),
    Architecture(name="concat_split", inputs=(_image(32),), fixed_batch=1),
    Architecture(name="shared_head", inputs=(_image(32),), outputs=("fine", "coarse")),
    Architecture(
        name="multi_in_out",
        inputs=(_image(32, name="colour"), _image(32, name="depth", channels=1)),
        outputs=("map", "logits"),
    ),
    Architecture(name="vit_explicit", inputs=(_image(24),)),
    Architecture(name="vit_sdpa", inputs=(_image(24),)),
    Architecture(name="transformer_encoder", inputs=(_sequence(12, 20),)),
    Architecture(name="cnn_transformer", inputs=(_image(24),), fixed_batch=1),
    *(
        Architecture(name=name, inputs=(_sequence(16, 12),))
        for name in ("lstm_1", "lstm_2", "lstm_bi", "gru_1", "gru_2", "gru_bi")
    ),
    Architecture(
        name="streaming_audio",
        inputs=(
            Input(name="sound", shape=(None, 1, 512)),
            Input(name="h0", shape=(1, None, 32)),
            Input(name="c0", shape=(1, None, 32)),
        ),
        outputs=("speech", "hn", "cn"),
        fixed_batch=1,
    ),
    Architecture(name="mlp", inputs=(Input(name="features", shape=(None, 20)),)),
    Architecture(
        name="two_tower",
        inputs=(
            Input(name="user", shape=(None,), below=100),
            Input(name="item", shape=(None,), below=80),
            Input(name="features", shape=(None, 8)),
        ),
        outputs=("score",),
    ),
)  # fmt: skip

FIXTURES: tuple[Fixture, ...] = tuple(
    Fixture(architecture=architecture, exporter=exporter)
    for architecture in ARCHITECTURES
    for exporter in ("legacy", "dynamo")
)
