"""Specification of :func:`g2vlm_fast.ops.geometry_attention`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.bias import BiasSpec, Direction, Distance, SquaredDistance
from g2vlm_fast.ops.geometry_attention import geometry_attention
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.clouds import sizes_of
from g2vlm_fast.ops.specs.points import normal_points, offsets

_EVERY_TERM = BiasSpec(Distance(0.05), SquaredDistance(), Direction())


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _tokens(
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
    inputs = {
        "q": _normal(generator, queries, heads, dim),
        "k": _normal(generator, keys, kv_heads, dim),
        "v": _normal(generator, keys, kv_heads, dim),
        "k_position": normal_points(generator, keys),
        **options,
    }
    if bias is not None:
        inputs |= {
            "bias": bias,
            "bias_parameters": _normal(generator, heads, bias.num_parameters),
            "q_position": normal_points(generator, queries),
        }
    return inputs


def _distance(generator: torch.Generator) -> Inputs:
    return _tokens(generator, 21, 37, BiasSpec(Distance(0.05)), return_lse=True)


def _every_term(generator: torch.Generator) -> Inputs:
    """Shared key heads, a place of each head, gates that are shut, an odd head dim."""
    inputs = _tokens(
        generator, 19, 34, _EVERY_TERM, heads=4, dim=5, return_lse=True, return_position_mean=True
    )
    gate = torch.rand(19, 4, generator=generator, dtype=torch.float64)
    inputs["q_gate"] = torch.where(gate < 0.3, 0, gate)
    inputs["q_position"] = _normal(generator, 19, 4, 3)
    return inputs


def _ragged(generator: torch.Generator) -> Inputs:
    """Segments without queries, without keys, and with neither."""
    return _tokens(
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
    return _tokens(
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
    return _tokens(generator, 18, 23, None, dim=33, scale=0.4, return_position_mean=True)


def _one_point(generator: torch.Generator) -> Inputs:
    """Self-attention between tokens of which many stand at one point."""
    inputs = _tokens(generator, 20, 20, BiasSpec(Distance()), return_position_mean=True)
    inputs["k_position"][4:15] = inputs["k_position"][0]
    inputs["q_position"] = inputs["k_position"].clone()
    return inputs


def _far(generator: torch.Generator) -> Inputs:
    """A scene a hundred metres from its origin."""
    inputs = _tokens(generator, 16, 40, _EVERY_TERM, return_position_mean=True)
    shift = torch.tensor([100.0, -60.0, 4.0], dtype=torch.float64)
    inputs["q_position"] += shift
    inputs["k_position"] += shift
    return inputs


def _nowhere(generator: torch.Generator) -> Inputs:
    """Tokens that stand nowhere: their gate is 0 and their position is not a number."""
    inputs = _tokens(generator, 22, 25, _EVERY_TERM, return_lse=True)
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
    inputs = _tokens(generator, 17, 40, BiasSpec(Direction()), return_lse=True)
    inputs["bias_parameters"] *= 25
    return inputs


def _no_keys(generator: torch.Generator) -> Inputs:
    return _tokens(generator, 4, 0, BiasSpec(Distance()), return_lse=True)


def _no_queries(generator: torch.Generator) -> Inputs:
    return _tokens(generator, 0, 5, BiasSpec(Distance()))


def _scenes(
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
        inputs = _tokens(generator, batch * queries, batch * keys, bias, **shape)
        inputs["q_position"] = places(generator, batch * queries)
        inputs["k_position"] = places(generator, batch * keys)
        slopes = torch.linspace(0.5, 8, heads, dtype=torch.float64)[:, None]
        inputs["bias_parameters"] = slopes.repeat(1, bias.num_parameters)
        if batch > 1:
            inputs["q_offsets"] = offsets(*[queries] * batch)
            inputs["k_offsets"] = offsets(*[keys] * batch)
        return inputs

    return make


_BIASES = {
    "distance": BiasSpec(Distance()),
    "squared": BiasSpec(SquaredDistance()),
    "direction": BiasSpec(Direction()),
    "none": BiasSpec(),
}


def _shaped(given: Mapping[str, Any]) -> InputFactory:
    optional = {"batch": 1, "heads": 16, "kv_heads": 0, "head_dim": 64, "bias": "distance"}
    positive = {name: value for name, value in given.items() if name != "kv_heads"}
    sizes = sizes_of(positive, ("queries", "keys"), optional)
    sizes["kv_heads"] = given.get("kv_heads") or sizes["heads"]
    if sizes["bias"] not in _BIASES:
        raise ValueError(f"bias must be one of {sorted(_BIASES)}, got {sizes['bias']!r}")
    return _scenes(
        sizes["batch"],
        sizes["heads"],
        sizes["queries"],
        sizes["keys"],
        sizes["head_dim"],
        _BIASES[sizes["bias"]],
        sizes["kv_heads"],
    )


def _cost(inputs: Inputs) -> Cost:
    """Two products a pair and head, 2 D operations each; segments taken as equally long."""
    q, k = inputs["q"], inputs["k"]
    tensors = [each for each in inputs.values() if isinstance(each, Tensor)]
    segments = inputs["q_offsets"].shape[0] - 1 if "q_offsets" in inputs else 1
    read = sum(each.nbytes for each in tensors)
    written = q.nbytes + q.shape[0] * q.shape[1] * 4
    return Cost(read + written, 4 * q.numel() * k.shape[0] // segments)


def _change(**changes: Any) -> Any:
    return lambda inputs: {**inputs, **changes}


SPEC = OpSpec(
    op="geometry_attention",
    kernels=("geometry_attention", "geometry_attention_backward"),
    function=geometry_attention,
    small={
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
    },
    timed={
        "M_D64_distance": _scenes(4, 16, 4096, 4096, 64, _BIASES["distance"]),
        "M_D128_distance": _scenes(4, 16, 4096, 4096, 128, _BIASES["distance"]),
        "M_D64_squared": _scenes(4, 16, 4096, 4096, 64, _BIASES["squared"]),
        "M_D128_squared": _scenes(4, 16, 4096, 4096, 128, _BIASES["squared"]),
        "cross_B8_H16_Lq512_Lk4096_D64_distance": _scenes(
            8, 16, 512, 4096, 64, _BIASES["distance"]
        ),
    },
    timed_dtype=torch.bfloat16,
    called={
        "geometry_attention_L16": _scenes(1, 4, 16, 16, 16, _BIASES["distance"]),
        "geometry_attention_L16_grad": _scenes(1, 4, 16, 16, 16, _BIASES["distance"]),
    },
    shaped=_shaped,
    cost=_cost,
    suite="geometry_attention",
    grad_inputs=("q", "k", "v", "bias_parameters", "q_position", "k_position", "q_gate"),
    float32_inputs=("bias_parameters", "q_position", "k_position", "q_gate"),
    tolerance={
        torch.float64: Tolerance(1e-12, 1e-11),
        # The rounding of a score of 300 alone changes its probability by 2e-5.
        torch.float32: Tolerance(2e-6, 5e-5),
        torch.float16: Tolerance(1e-3, 5e-3),
        torch.bfloat16: Tolerance(5e-3, 1e-2),
    },
    smooth=("distance", "every_term", "plain", "sharp"),
    hostile=(
        Hostile(
            "bias without parameters", _change(bias_parameters=None), ValueError, "bias_parameters"
        ),
        Hostile("bias without positions", _change(q_position=None), ValueError, "q_position"),
        Hostile("a term that is no spec", _change(bias=Distance()), TypeError, "bias"),
        Hostile(
            "mean without positions",
            _change(bias=None, bias_parameters=None, k_position=None, return_position_mean=True),
            ValueError,
            "k_position",
        ),
        Hostile("infinite scale", _change(scale=float("inf")), ValueError, "scale"),
        Hostile(
            "positions in half precision",
            lambda i: {**i, "k_position": i["k_position"].bfloat16()},
            TypeError,
            "k_position",
        ),
        Hostile(
            "parameters of another spec",
            lambda i: {**i, "bias_parameters": i["bias_parameters"].repeat(1, 2)},
            ValueError,
            "bias_parameters",
        ),
        Hostile(
            "heads that do not divide",
            lambda i: {**i, "k": i["k"].repeat(1, 2, 1)[:, :3], "v": i["v"].repeat(1, 2, 1)[:, :3]},
            ValueError,
            "heads of q",
        ),
        Hostile(
            "offsets that end early",
            _change(q_offsets=offsets(3), k_offsets=offsets(37)),
            ValueError,
            "q_offsets",
        ),
        Hostile(
            "offsets of one segmentation",
            _change(q_offsets=offsets(11, 10)),
            ValueError,
            "k_offsets",
        ),
    ),
)
