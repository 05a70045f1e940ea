"""Small networks, each around one thing: several inputs, tables of ids, learned scales, a head used twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from models.torch_definitions.layers import Classifier, ConvNorm
from torch import Tensor, nn

__all__ = ["NETWORKS"]


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64),
        nn.ReLU(),
        nn.Linear(64, 48),
        nn.BatchNorm1d(48),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(48, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


class TwoTower(nn.Module):
    """A recommender: ids are looked up and go through a tower each, the user's beside dense features; a joint head."""

    def __init__(self, users: int = 100, items: int = 80) -> None:
        super().__init__()
        self.users = nn.Embedding(users, 24)
        self.items = nn.Embedding(items, 24)
        self.user_tower = nn.Sequential(nn.Linear(24 + 8, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU())
        self.item_tower = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, user: Tensor, item: Tensor, features: Tensor) -> Tensor:
        of_user = self.user_tower(torch.cat([self.users(user), features], 1))
        return self.head(torch.cat([of_user, self.item_tower(self.items(item))], 1))


class TwoImages(nn.Module):
    """One stem per image, a shared trunk on their sum, an output from its features and one from their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = ConvNorm(3, 16, 3, stride=2)
        self.depth = ConvNorm(1, 16, 5, stride=2)
        self.trunk = nn.Sequential(ConvNorm(16, 32, 3), ConvNorm(32, 32, 3, stride=2))
        self.map = nn.Sequential(ConvNorm(32, 16, 3), nn.Conv2d(16, 4, 1))
        self.classify = Classifier(32)

    def forward(self, colour: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        trunk = self.trunk(self.colour(colour) + self.depth(depth))
        return self.map(trunk), self.classify(trunk)


def prelu_net() -> nn.Module:
    """A slope per channel, and one slope for all channels before the head."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.PReLU(16),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.PReLU(16),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.PReLU(32),
        nn.Conv2d(32, 48, 1),
        nn.PReLU(),
        Classifier(48),
    )


class ChannelScale(nn.Module):
    """Bare parameters of shape (channels, 1, 1) between layers: a factor, a term, and both under a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, 2, 1)
        self.factor = nn.Parameter(torch.empty(16, 1, 1).uniform_(0.5, 1.5))
        self.second = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.term = nn.Parameter(0.3 * torch.randn(32, 1, 1))
        self.third = ConvNorm(32, 32, 3, stride=2, activation=None)
        self.scale = nn.Parameter(torch.empty(1, 32, 1, 1).uniform_(0.5, 1.5))
        self.shift = nn.Parameter(0.3 * torch.randn(32, 1, 1))
        self.head = Classifier(32)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.first(image)) * self.factor
        x = torch.relu(self.second(x) + self.term)
        return self.head(torch.relu(self.scale * self.third(x) + self.shift))


class SharedHead(nn.Module):
    """Two levels of features, one above the other, go through the very same head (Lin et al. 2017, RetinaNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 16, 3, stride=2)
        self.fine = ConvNorm(16, 24, 3)
        self.coarse = ConvNorm(24, 32, 3, stride=2)
        self.lateral_fine = nn.Conv2d(24, 24, 1)
        self.lateral_coarse = nn.Conv2d(32, 24, 1)
        self.head = nn.Sequential(
            nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 6, 1)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(self.stem(image))
        coarse = self.lateral_coarse(self.coarse(fine))
        above = nn.functional.interpolate(coarse, scale_factor=2, mode="nearest")
        return self.head(self.lateral_fine(fine) + above), self.head(coarse)


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "two_tower": TwoTower,
    "multi_in_out": TwoImages,
    "prelu_net": prelu_net,
    "channel_scale": ChannelScale,
    "shared_head": SharedHead,
}
