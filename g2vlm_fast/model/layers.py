"""Building blocks that every part of the model shares."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def initialise(layer: nn.Linear | nn.Conv2d) -> None:
    """Draw weights that keep the variance of their input, and set the bias to zero.

    PyTorch's own default shrinks the variance threefold a layer, which costs training that lasts
    minutes a good part of them.

    Source: LeCun et al., "Efficient backprop", 1998.
    """
    nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Linear(nn.Linear):
    """A linear layer that takes input of any float dtype and computes in that of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class ZeroLinear(Linear):
    """A linear layer that starts as zero, so that what it adds to starts unchanged.

    Its output is multiplied by ``gain``, by which it learns as much faster under Adam, whose steps
    do not depend on the scale of gradients: an output has far to go from zero.

    Source: Yang et al., "Tuning large neural networks via zero-shot hyperparameter transfer"
    (output multipliers), NeurIPS 2021.
    """

    gain = 4.0

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * super().forward(x)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Conv2d(nn.Conv2d):
    """A convolution that takes input of any float dtype and computes in that of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class LayerNorm(nn.LayerNorm):
    """Layer normalisation that takes input of any float dtype."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class MLP(nn.Sequential):
    """Two linear layers with a GELU between them; ``last`` is the class of the second."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, last: type[nn.Linear] = Linear
    ) -> None:
        super().__init__(Linear(inputs, hidden), nn.GELU(), last(hidden, outputs))


class SelfAttentionBlock(nn.Module):
    """A pre-norm transformer block over ``[batch, tokens, dim]``: attention, feed-forward.

    Source: Xiong et al., "On layer normalization in the transformer architecture", ICML 2020.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = LayerNorm(dim)
        self.qkv = Linear(dim, 3 * dim)
        self.output = Linear(dim, dim)
        self.mlp_norm = LayerNorm(dim)
        self.mlp = MLP(dim, int(mlp_ratio * dim), dim)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            self.qkv(self.attention_norm(x))
            .unflatten(-1, (3, self.heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        x = x + self.output(attended.transpose(1, 2).flatten(-2))
        return x + F.dropout(self.mlp(self.mlp_norm(x)), dropout)


def fourier_features(x: Tensor, shortest: float, longest: float, bands: int) -> Tensor:
    """Sines and cosines of coordinates, in float32.

    Args:
        x: ``[..., D]`` coordinates.
        shortest: smallest wavelength, in the unit of ``x``.
        longest: largest wavelength.
        bands: wavelengths, spaced geometrically.

    Returns:
        ``[..., 2 * D * bands]`` float32.

    Source: Tancik et al., "Fourier features let networks learn high frequency functions in low
    dimensional domains", NeurIPS 2020.
    """
    steps = torch.linspace(0, 1, bands, device=x.device, dtype=torch.float32)
    frequency = 2 * math.pi / (longest * (shortest / longest) ** steps)
    angle = (x.float()[..., None] * frequency).flatten(-2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class PositionEmbedding(nn.Module):
    """A learned map of Fourier features of positions in a scene's frame (metres) to ``dim``."""

    bands = 6

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = Linear(3 + 6 * self.bands, dim)

    def forward(self, position: Tensor) -> Tensor:
        features = fourier_features(position, shortest=0.25, longest=8.0, bands=self.bands)
        return self.project(torch.cat([position / 4, features], dim=-1))


def parameter_count(module: nn.Module, trained: bool = True) -> int:
    """Return the number of parameters of a module: those that are trained, or all."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def reset_parameters(module: Any) -> None:
    """Initialise the parameters that a module itself owns, where it says how."""
    if isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(module, ZeroLinear):
        initialise(module)
        return
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if reset is not None:
        reset()
