"""Networks with attention: two spellings of a ViT, torch's own encoder, and convolutions around an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from models.torch_definitions.layers import ConvNorm
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NETWORKS"]

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # (batch, heads, tokens, head width) of q, k, v


def explicit_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return weights.softmax(dim=-1) @ v


class FusedAttention(nn.Module):
    """One linear layer makes q, k and v of all heads, as in timm's ViT."""

    def __init__(self, width: int, heads: int, attend: Attend) -> None:
        super().__init__()
        self.heads = heads
        self.attend = attend
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        return self.out(self.attend(q, k, v).transpose(1, 2).reshape(batch, tokens, width))


class SeparateAttention(nn.Module):
    """q, k and v have a linear layer each, as in most language models."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            made.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
            for made in (self.q(x), self.k(x), self.v(x))
        )
        return self.out(explicit_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))


class EncoderBlock(nn.Module):
    """Norm before attention and before the two layers of the feed-forward part (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int, attention: nn.Module, hidden: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = attention
        self.norm_hidden = nn.LayerNorm(width)
        self.hidden = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))
        return x + self.hidden(self.norm_hidden(x))


class VisionTransformer(nn.Module):
    def __init__(self, attend: Attend, *, width: int = 32, heads: int = 4, patches: int = 36) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(0.5 * torch.randn(1, patches + 1, width))
        self.blocks = nn.Sequential(
            *(EncoderBlock(width, FusedAttention(width, heads, attend), 2 * width) for _ in range(2))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.patch(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(image.shape[0], -1, -1), patches], 1) + self.position
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class SequenceEncoder(nn.Module):
    """torch's own layers, norm after attention as is their default."""

    def __init__(self, features: int = 20, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        layers = [nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True) for _ in range(2)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(sequence)).mean(1))


class ConvolutionsAroundAnEncoder(nn.Module):
    """A convolutional stem, its pixels as tokens, an encoder, a convolutional head on the tokens as pixels again."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(3, 16, 3, stride=2), ConvNorm(16, width, 3, stride=2))
        self.blocks = nn.Sequential(*(EncoderBlock(width, SeparateAttention(width, 4), 2 * width) for _ in range(2)))
        self.head = nn.Sequential(ConvNorm(width, 48), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))

    def forward(self, image: Tensor) -> Tensor:
        pixels = self.stem(image)
        batch, width, height, breadth = pixels.shape
        tokens = self.blocks(pixels.flatten(2).transpose(1, 2))
        return self.head(tokens.transpose(1, 2).reshape(batch, width, height, breadth))


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "vit_explicit": lambda: VisionTransformer(explicit_attention),
    "vit_sdpa": lambda: VisionTransformer(functional.scaled_dot_product_attention),
    "transformer_encoder": SequenceEncoder,
    "cnn_transformer": ConvolutionsAroundAnEncoder,
}
