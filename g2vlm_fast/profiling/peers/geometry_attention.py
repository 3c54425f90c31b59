"""Other ways to attention with a bias that depends on positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from g2vlm_fast.ops.bias import (
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    RadialBasis,
    SquaredDistance,
    Term,
)
from g2vlm_fast.ops.specs import Inputs
from g2vlm_fast.profiling.providers import Function, NotOffered, Provider

_UNOFFERED = (
    "q_normal",
    "k_normal",
    "q_frame",
    "q_gate",
    "k_mask",
    "causal",
    "dropout",
    "return_lse",
    "return_position_mean",
)


def _batch(inputs: Inputs) -> int:
    """Return how many equal segments the tokens fall into, or raise NotOffered."""
    asked = [
        name for name in _UNOFFERED if inputs.get(name) is not None and inputs[name] is not False
    ]
    if asked:
        raise NotOffered(f"it is set up here without {', '.join(asked)}")
    if inputs.get("q_position") is not None and inputs["q_position"].dim() == 3:
        raise NotOffered("it is set up here for one position a token")
    if inputs.get("bias_parameters") is not None and inputs["bias_parameters"].dim() == 3:
        raise NotOffered("it is set up here for the same parameters in every row")
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
    square = difference.square().sum(-1)[:, None]
    total: Tensor | None = None
    for term, columns in _columns(spec, parameters[..., None, None]):
        if isinstance(term, Direction):
            weights = torch.stack(columns, 1).flatten(1)
            part = torch.einsum("hc,bqkc->bhqk", weights, difference)
        else:
            part = _of_distance(term, columns, square)
        total = part if total is None else total + part
    assert total is not None
    return total


def _columns(spec: BiasSpec, parameters: Tensor) -> Iterator[tuple[Term, list[Tensor]]]:
    """Yield each term and its columns of parameters ``[H, P, ...]``."""
    column = 0
    for term in spec.terms:
        count = term.num_parameters
        yield term, [parameters[:, column + offset] for offset in range(count)]
        column += count


def _of_distance(term: Term, columns: Sequence[Tensor], square: Tensor) -> Tensor:
    """Return a term that depends on the squared distance alone; everything broadcasts."""
    if isinstance(term, Distance):
        return -columns[0] * torch.sqrt(square + term.eps**2)
    if isinstance(term, SquaredDistance):
        return -columns[0] * square
    if isinstance(term, GaussianPowers):
        power, total = torch.exp(-columns[0] * square), torch.zeros_like(square)
        for weight in reversed(columns[1:]):
            total = (total + weight) * power
        return total
    assert isinstance(term, RadialBasis)
    length, total = torch.sqrt(square + term.eps**2), torch.zeros_like(square)
    for m in range(term.count):
        weight, center, precision = columns[m :: term.count]
        offset = length - center
        total = total + weight * torch.exp(-precision * offset * offset)
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
    def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        x = key[b, j, 0] - query[b, i, 0]
        y = key[b, j, 1] - query[b, i, 1]
        z = key[b, j, 2] - query[b, i, 2]
        square = x * x + y * y + z * z
        column = 0
        for term in spec.terms:
            columns = [parameters[h, column + offset] for offset in range(term.num_parameters)]
            if isinstance(term, Direction):
                score = score + columns[0] * x + columns[1] * y + columns[2] * z
            else:
                score = score + _of_distance(term, columns, square)
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
