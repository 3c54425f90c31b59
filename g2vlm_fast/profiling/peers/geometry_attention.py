"""Other ways to attention with a bias that depends on positions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from g2vlm_fast.ops.bias import BiasSpec, Direction, Distance, SquaredDistance
from g2vlm_fast.ops.specs import Inputs
from g2vlm_fast.profiling.providers import Function, NotOffered, Provider

_UNOFFERED = ("q_gate", "causal", "return_lse", "return_position_mean")


def _batch(inputs: Inputs) -> int:
    """Return how many equal segments the tokens fall into, or raise NotOffered."""
    asked = [
        name for name in _UNOFFERED if inputs.get(name) is not None and inputs[name] is not False
    ]
    if asked:
        raise NotOffered(f"it is set up here without {', '.join(asked)}")
    if inputs.get("q_position") is not None and inputs["q_position"].dim() == 3:
        raise NotOffered("it is set up here for one position a token")
    q_offsets, k_offsets = inputs.get("q_offsets"), inputs.get("k_offsets")
    if q_offsets is None or k_offsets is None:
        return 1
    for offsets in (q_offsets, k_offsets):
        lengths = offsets.diff().unique()
        if len(lengths) != 1 or lengths[0] == 0:
            raise NotOffered("it is set up here for segments of one size")
    return int(q_offsets.shape[0] - 1)


def _heads_first(packed: Tensor, batch: int) -> Tensor:
    """Turn ``[B L, H, D]`` into ``[B, H, L, D]``."""
    return packed.unflatten(0, (batch, -1)).transpose(1, 2)


def _bias(spec: BiasSpec, parameters: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Build the bias ``[B, H, Lq, Lk]`` from positions ``[B, L, 3]``."""
    difference = key[:, None] - query[:, :, None]
    square = difference.square().sum(-1)
    total: Tensor | None = None
    column = 0
    for term in spec.terms:
        slope = parameters[:, column, None, None]
        if isinstance(term, Distance):
            part = -slope * (square + term.eps**2).sqrt()[:, None]
        elif isinstance(term, SquaredDistance):
            part = -slope * square[:, None]
        else:
            part = torch.einsum("hc,bqkc->bhqk", parameters[:, column : column + 3], difference)
        total = part if total is None else total + part
        column += term.num_parameters
    assert total is not None
    return total


def _built_bias(inputs: Inputs) -> Function:
    batch = _batch(inputs)

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: BiasSpec | None = None,
        bias_parameters: Tensor | None = None,
        q_position: Tensor | None = None,
        k_position: Tensor | None = None,
        scale: float | None = None,
        **_: Any,
    ) -> Tensor:
        mask = None
        if bias is not None and bias.terms:
            assert bias_parameters is not None
            assert q_position is not None
            assert k_position is not None
            positions = (each.unflatten(0, (batch, -1)) for each in (q_position, k_position))
            mask = _bias(bias, bias_parameters, *positions).to(q.dtype)
        out = functional.scaled_dot_product_attention(
            _heads_first(q, batch),
            _heads_first(k, batch),
            _heads_first(v, batch),
            attn_mask=mask,
            scale=scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        return out.transpose(1, 2).flatten(0, 1)

    return attention


@cache
def _compiled_flex_attention() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    torch._dynamo.config.recompile_limit = 64  # every case is a shape and a bias of its own
    return torch.compile(flex_attention, dynamic=False)  # type: ignore[no-any-return]


def _score_mod(spec: BiasSpec, parameters: Tensor, query: Tensor, key: Tensor) -> Any:
    terms = spec.terms

    def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        x = key[b, j, 0] - query[b, i, 0]
        y = key[b, j, 1] - query[b, i, 1]
        z = key[b, j, 2] - query[b, i, 2]
        square = x * x + y * y + z * z
        column = 0
        for term in terms:
            if isinstance(term, Distance):
                score = score - parameters[h, column] * torch.sqrt(square + term.eps**2)
            elif isinstance(term, SquaredDistance):
                score = score - parameters[h, column] * square
            elif isinstance(term, Direction):
                score = score + parameters[h, column] * x + parameters[h, column + 1] * y
                score = score + parameters[h, column + 2] * z
            column += term.num_parameters
        return score

    return score_mod


def _flex_attention(inputs: Inputs) -> Function:
    batch = _batch(inputs)

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: BiasSpec | None = None,
        bias_parameters: Tensor | None = None,
        q_position: Tensor | None = None,
        k_position: Tensor | None = None,
        scale: float | None = None,
        **_: Any,
    ) -> Tensor:
        score_mod = None
        if bias is not None and bias.terms:
            assert bias_parameters is not None
            assert q_position is not None
            assert k_position is not None
            positions = [each.unflatten(0, (batch, -1)) for each in (q_position, k_position)]
            score_mod = _score_mod(bias, bias_parameters, *positions)
        out = _compiled_flex_attention()(
            _heads_first(q, batch),
            _heads_first(k, batch),
            _heads_first(v, batch),
            score_mod=score_mod,
            scale=scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        return out.transpose(1, 2).flatten(0, 1)

    return attention


PEERS = (
    Provider("SDPA + built bias", {"geometry_attention": _built_bias}),
    Provider("FlexAttention", {"geometry_attention": _flex_attention}, devices=("cuda",)),
)
