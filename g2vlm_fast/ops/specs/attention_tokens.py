"""Packed tokens that the specification of ``geometry_attention`` draws: small cases, and rooms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from g2vlm_fast.ops.bias import (
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialBasis,
    SquaredDistance,
)
from g2vlm_fast.ops.specs.base import InputFactory, Inputs
from g2vlm_fast.ops.specs.points import normal_points, offsets

_EVERY_TERM = BiasSpec(Distance(0.05), SquaredDistance(), Direction())


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Draw numbers of a standard normal distribution."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def parameters_of(generator: torch.Generator, heads: int, bias: BiasSpec) -> Tensor:
    """Draw parameters of each head: weights of both signs, centers, positive precisions."""
    columns = []
    for term in bias.terms:
        own = normal(generator, heads, term.num_parameters)
        if isinstance(term, GaussianPowers):
            own[:, 0] = own[:, 0].exp()
        elif isinstance(term, RadialBasis):
            own[:, term.count : 2 * term.count].abs_()
            own[:, 2 * term.count :].exp_()
        columns.append(own)
    return torch.cat(columns, -1) if columns else normal(generator, heads, 0)


def tokens_of(
    generator: torch.Generator,
    queries: int,
    keys: int,
    bias: BiasSpec | None,
    *,
    heads: int = 2,
    kv_heads: int = 2,
    dim: int = 16,
    **options: Any,
) -> Inputs:
    """Draw packed tokens around the origin, and what ``bias`` needs of them."""
    inputs = {
        "q": normal(generator, queries, heads, dim),
        "k": normal(generator, keys, kv_heads, dim),
        "v": normal(generator, keys, kv_heads, dim),
        "k_position": normal_points(generator, keys),
        **options,
    }
    if bias is not None:
        inputs |= {
            "bias": bias,
            "bias_parameters": parameters_of(generator, heads, bias),
            "q_position": normal_points(generator, queries),
        }
    return inputs


def _distance(generator: torch.Generator) -> Inputs:
    return tokens_of(generator, 21, 37, BiasSpec(Distance(0.05)), return_lse=True)


def _every_term(generator: torch.Generator) -> Inputs:
    """Shared key heads, a place of each head, gates that are shut, an odd head dim."""
    inputs = tokens_of(
        generator, 19, 34, _EVERY_TERM, heads=4, dim=5, return_lse=True, return_position_mean=True
    )
    gate = torch.rand(19, 4, generator=generator, dtype=torch.float64)
    inputs["q_gate"] = torch.where(gate < 0.3, 0, gate)
    inputs["q_position"] = normal(generator, 19, 4, 3)
    return inputs


def _ragged(generator: torch.Generator) -> Inputs:
    """Segments without queries, without keys, and with neither."""
    return tokens_of(
        generator,
        30,
        36,
        _EVERY_TERM,
        q_offsets=offsets(5, 0, 7, 0, 17, 1),
        k_offsets=offsets(2, 9, 0, 0, 24, 1),
        return_lse=True,
        return_position_mean=True,
    )


def _causal(generator: torch.Generator) -> Inputs:
    """Self-attention, new queries after old keys, and queries before the first key."""
    return tokens_of(
        generator,
        24,
        27,
        BiasSpec(SquaredDistance()),
        kv_heads=1,
        causal=True,
        q_offsets=offsets(12, 3, 9),
        k_offsets=offsets(12, 10, 5),
        return_lse=True,
    )


def _plain(generator: torch.Generator) -> Inputs:
    return tokens_of(generator, 18, 23, None, dim=33, scale=0.4, return_position_mean=True)


def _one_point(generator: torch.Generator) -> Inputs:
    """Self-attention between tokens of which many stand at one point."""
    inputs = tokens_of(generator, 20, 20, BiasSpec(Distance()), return_position_mean=True)
    inputs["k_position"][4:15] = inputs["k_position"][0]
    inputs["q_position"] = inputs["k_position"].clone()
    return inputs


def _far(generator: torch.Generator) -> Inputs:
    """A scene a hundred metres from its origin."""
    inputs = tokens_of(generator, 16, 40, _EVERY_TERM, return_position_mean=True)
    shift = torch.tensor([100.0, -60.0, 4.0], dtype=torch.float64)
    inputs["q_position"] += shift
    inputs["k_position"] += shift
    return inputs


def _nowhere(generator: torch.Generator) -> Inputs:
    """Tokens that stand nowhere: their gate is 0 and their position is not a number."""
    inputs = tokens_of(generator, 22, 25, _EVERY_TERM, return_lse=True)
    inputs["q_gate"] = torch.ones(22, 2, dtype=torch.float64)
    inputs["q_gate"][3:9] = 0
    inputs["q_position"][3:6] = torch.nan
    inputs["q_position"][6] = torch.inf
    return inputs


def _sharp(generator: torch.Generator) -> Inputs:
    """Scores above a hundred, whose exponentials overflow.

    Not far above: a float32 score is rounded by 6e-8 of itself, which is then the relative
    error of its probability.
    """
    inputs = tokens_of(generator, 17, 40, BiasSpec(Direction()), return_lse=True)
    inputs["bias_parameters"] *= 25
    return inputs


def _no_keys(generator: torch.Generator) -> Inputs:
    return tokens_of(generator, 4, 0, BiasSpec(Distance()), return_lse=True)


def _no_queries(generator: torch.Generator) -> Inputs:
    return tokens_of(generator, 0, 5, BiasSpec(Distance()))


def _gaussian_powers(generator: torch.Generator) -> Inputs:
    return tokens_of(generator, 19, 35, BiasSpec(GaussianPowers(3), Distance()), return_lse=True)


def _radial_basis(generator: torch.Generator) -> Inputs:
    bias = BiasSpec(RadialBasis(4, 0.05), Distance(0.05))
    return tokens_of(generator, 19, 35, bias, return_lse=True)


def units(generator: torch.Generator, *shape: int) -> Tensor:
    """Draw unit vectors."""
    return normalize(normal(generator, *shape, 3), dim=-1)


def _frames(generator: torch.Generator) -> Inputs:
    """Weights along the axes of each query, with some axes that are no rotation."""
    inputs = tokens_of(generator, 18, 33, BiasSpec(SquaredDistance(), Direction()), return_lse=True)
    inputs["q_frame"] = torch.linalg.qr(normal(generator, 18, 3, 3)).Q
    inputs["q_frame"][4:6] = normal(generator, 2, 3, 3)
    return inputs


def _normal_dot(generator: torch.Generator) -> Inputs:
    bias = BiasSpec(NormalDot(), Distance())
    normals: Inputs = {"q_normal": units(generator, 21), "k_normal": units(generator, 36)}
    return tokens_of(generator, 21, 36, bias, kv_heads=1, return_lse=True, **normals)


def _own_parameters(generator: torch.Generator) -> Inputs:
    """Each query brings its parameters, its gate and its frame; some stand nowhere."""
    bias = BiasSpec(GaussianPowers(2), Direction())
    inputs = tokens_of(generator, 20, 34, bias, heads=4, return_lse=True)
    own = [parameters_of(generator, 4, bias) for _ in range(20)]
    inputs["bias_parameters"] = torch.stack(own)
    inputs["q_frame"] = torch.linalg.qr(normal(generator, 20, 3, 3)).Q
    inputs["q_gate"] = torch.rand(20, 4, generator=generator, dtype=torch.float64)
    inputs["q_gate"][5:9] = inputs["q_gate"][10, 1] = 0
    inputs["q_frame"][5:7] = torch.nan
    inputs["bias_parameters"][6:8] = torch.nan
    inputs["bias_parameters"][10, 1, 2] = torch.nan
    return inputs


def _key_mask(generator: torch.Generator) -> Inputs:
    """Padding that is not a number, a segment of nothing else, and one that begins with it."""
    inputs = tokens_of(
        generator,
        24,
        40,
        BiasSpec(Distance(0.05), NormalDot()),
        return_lse=True,
        return_position_mean=True,
        q_normal=units(generator, 24),
        k_normal=units(generator, 40),
        q_offsets=offsets(9, 3, 12),
        k_offsets=offsets(14, 5, 21),
    )
    mask = torch.rand(40, generator=generator) < 0.7
    mask[14:23] = False
    inputs["k_mask"] = mask
    for name in ("k", "v", "k_position", "k_normal"):
        inputs[name][~mask] = torch.nan
    return inputs


def _dropout(generator: torch.Generator) -> Inputs:
    return tokens_of(
        generator,
        23,
        38,
        BiasSpec(Distance(0.05)),
        heads=4,
        return_lse=True,
        return_position_mean=True,
        dropout=0.3,
        dropout_seed=torch.tensor([-0x123456789ABCDEF]),
    )


def _few_queries(generator: torch.Generator) -> Inputs:
    return tokens_of(
        generator,
        4,
        512,
        BiasSpec(Distance(0.05), Direction()),
        kv_heads=1,
        dim=20,
        q_offsets=offsets(1, 3),
        k_offsets=offsets(380, 132),
        return_lse=True,
    )


def everything(queries: tuple[int, ...], keys: tuple[int, ...]) -> InputFactory:
    """Return a factory with every term and every option at once, in segments of these lengths."""
    rows, k_rows = sum(queries), sum(keys)
    bias = BiasSpec(
        Distance(0.05),
        SquaredDistance(),
        Direction(),
        NormalDot(),
        GaussianPowers(8),
        RadialBasis(16, 0.05),
    )

    def make(generator: torch.Generator) -> Inputs:
        inputs = tokens_of(
            generator,
            rows,
            k_rows,
            bias,
            heads=4,
            dim=7,
            causal=True,
            scale=0.3,
            dropout=0.15,
            dropout_seed=torch.tensor([2**40 + 5]),
            return_lse=True,
            return_position_mean=True,
            q_normal=units(generator, rows),
            k_normal=units(generator, k_rows),
            q_offsets=offsets(*queries),
            k_offsets=offsets(*keys),
        )
        own = [parameters_of(generator, 4, bias) for _ in range(rows)]
        inputs["bias_parameters"] = torch.stack(own)
        inputs["q_position"] = normal(generator, rows, 4, 3)
        inputs["q_frame"] = torch.linalg.qr(normal(generator, rows, 3, 3)).Q
        gate = torch.rand(rows, 4, generator=generator, dtype=torch.float64)
        inputs["q_gate"] = torch.where(gate < 0.3, 0, gate)
        inputs["k_mask"] = torch.rand(k_rows, generator=generator) < 0.8
        return inputs

    return make


SMALL: Mapping[str, InputFactory] = {
    "distance": _distance,
    "every_term": _every_term,
    "ragged": _ragged,
    "causal": _causal,
    "plain": _plain,
    "one_point": _one_point,
    "far_from_the_origin": _far,
    "nowhere": _nowhere,
    "sharp": _sharp,
    "no_keys": _no_keys,
    "no_queries": _no_queries,
    "gaussian_powers": _gaussian_powers,
    "radial_basis": _radial_basis,
    "frames": _frames,
    "normal_dot": _normal_dot,
    "own_parameters": _own_parameters,
    "key_mask": _key_mask,
    "dropout": _dropout,
    "everything": everything((8, 0, 17), (20, 2, 21)),
    "few_queries": _few_queries,
}


def _learned(bias: BiasSpec, heads: int) -> Tensor:
    """Return parameters ``[heads, P]`` such as training arrives at, from wide heads to narrow ones.

    Slopes rise from 0.5 to 8; Gaussians narrow from 1 m to 16 cm; centers lie between 0 and 4 m;
    the weights of a mixture alternate.
    """
    rising = torch.linspace(0.5, 8, heads, dtype=torch.float64)[:, None]
    precision = torch.linspace(0.5, 20, heads, dtype=torch.float64)[:, None]
    columns = []
    for term in bias.terms:
        if isinstance(term, GaussianPowers | RadialBasis):
            signs = (-1.0) ** torch.arange(term.count, dtype=torch.float64)
            weights = rising / 2 * signs
            if isinstance(term, GaussianPowers):
                columns += [precision, weights]
            else:
                centers = torch.linspace(0, 4, term.count, dtype=torch.float64)
                columns += [weights, centers.repeat(heads, 1), precision.repeat(1, term.count)]
        else:
            columns.append(rising.repeat(1, term.num_parameters))
    return torch.cat(columns, 1) if columns else rising[:, :0]


def scenes(
    batch: int,
    heads: int,
    queries: int,
    keys: int,
    dim: int,
    bias: BiasSpec,
    kv_heads: int | None = None,
) -> InputFactory:
    """Return a factory of packed scenes: tokens that fill rooms of 8 x 6 x 3 m."""

    def places(generator: torch.Generator, count: int) -> Tensor:
        room = torch.tensor([8.0, 6.0, 3.0], dtype=torch.float64)
        return torch.rand(count, 3, generator=generator, dtype=torch.float64) * room

    def make(generator: torch.Generator) -> Inputs:
        shape = {"heads": heads, "kv_heads": kv_heads or heads, "dim": dim}
        inputs = tokens_of(generator, batch * queries, batch * keys, bias, **shape)
        inputs["q_position"] = places(generator, batch * queries)
        inputs["k_position"] = places(generator, batch * keys)
        inputs["bias_parameters"] = _learned(bias, heads)
        if batch > 1:
            inputs["q_offsets"] = offsets(*[queries] * batch)
            inputs["k_offsets"] = offsets(*[keys] * batch)
        return inputs

    return make
