"""Plain-torch truth of :func:`g2vlm_fast.ops.geometry_attention`.

Segments are visited one by one and their queries in chunks, so that the scores of a long scene
are never in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from g2vlm_fast.ops._geometry_attention_arguments import (
    Options,
    ResultGradients,
    Results,
    TokenGradients,
    Tokens,
    wide,
)
from g2vlm_fast.ops.bias import Direction, Distance, SquaredDistance

_CHUNK_SCORES = 1 << 22


class _Inputs(NamedTuple):
    """The tensors in the dtype of the arithmetic, heads in front, key heads repeated."""

    q: Tensor  # [H, Lq, D]
    k: Tensor  # [H, Lk, D]
    v: Tensor  # [H, Lk, D]
    bias_parameters: Tensor | None  # [H, P]
    q_position: Tensor | None  # [1 or H, Lq, 3]
    k_position: Tensor | None  # [Lk, 3]
    q_gate: Tensor | None  # [H, Lq]
    terms: Sequence[int]
    eps: float
    scale: float


class _Chunk(NamedTuple):
    """Some queries of one segment, all of its keys, and which of them are hidden."""

    queries: slice
    keys: slice
    hidden: Tensor | None  # [rows, n] bool


class _Scores(NamedTuple):
    value: Tensor  # [H, rows, n]
    basis: Tensor | None  # [P, 1 or H, rows, n]
    difference: Tensor | None  # [1 or H, rows, n, 3]
    ungated: Tensor | None  # [H, rows, n]


def geometry_attention(tokens: Tokens, options: Options, position_mean: bool) -> Results:
    """Return the results, the mean and variance of key positions without rows unless asked for."""
    inputs = _widen(tokens, options)
    q = tokens.q
    rows, heads = q.shape[:2]
    statistics_rows = rows if position_mean else 0
    out = torch.zeros_like(inputs.q)
    lse = inputs.q.new_full((heads, rows), -torch.inf)
    mean = inputs.q.new_zeros((heads, statistics_rows, 3))
    variance = inputs.q.new_zeros((heads, statistics_rows))
    for chunk in _chunks(tokens, options.causal):
        scores = _scores(inputs, chunk)
        probability, lse[:, chunk.queries] = _softmax(scores.value)
        out[:, chunk.queries] = probability @ inputs.v[:, chunk.keys]
        if position_mean:
            assert inputs.k_position is not None
            position = inputs.k_position[chunk.keys]
            center = position[:1]
            average = probability @ (position - center)
            spread = (position - center - average.unsqueeze(-2)).square().sum(-1)
            alive = probability.sum(-1, keepdim=True) != 0
            mean[:, chunk.queries] = torch.where(alive, average + center, 0)
            variance[:, chunk.queries] = (probability * spread).sum(-1)
    return Results(
        out=out.transpose(0, 1).to(q.dtype).contiguous(),
        lse=lse.T.contiguous(),
        mean=mean.transpose(0, 1).contiguous(),
        variance=variance.T.contiguous(),
    )


def geometry_attention_backward(
    grads: ResultGradients,
    tokens: Tokens,
    results: Results,
    options: Options,
    position_gradients: bool,
) -> TokenGradients:
    """Return the gradients of the tokens.

    With probabilities P and ``dP`` the gradient with respect to them,
    ``dS = P * (dP - sum_j P dP + d_lse)``. The mean and the variance are two more values that
    P averages: they add ``e . (d_mean + d_variance e)`` to dP, with ``e = k_position - mean``,
    whose average under P is ``d_variance * variance``.
    """
    x = _widen(tokens, options)
    dtype, scale, q_position = x.q.dtype, options.scale, tokens.q_position
    grad_mean, grad_variance = grads.mean, grads.variance
    grad_q, grad_k, grad_v = map(torch.zeros_like, (x.q, x.k, x.v))
    grad_parameters = _zeros_like(tokens.bias_parameters, dtype)
    grad_gate = _zeros_like(x.q_gate, dtype)
    grad_q_position = _zeros_like(x.q_position if position_gradients else None, dtype)
    grad_k_position = _zeros_like(x.k_position if position_gradients else None, dtype)
    d_out = torch.zeros_like(x.q) if grads.out is None else grads.out.to(dtype).transpose(0, 1)
    delta = (d_out * results.out.to(dtype).transpose(0, 1)).sum(-1)
    if grads.lse is not None:
        delta = delta - grads.lse.T
    if grad_variance is not None:
        delta = delta + (grad_variance * results.variance).T
    for chunk in _chunks(tokens, options.causal):
        rows, keys = chunk.queries, chunk.keys
        scores = _scores(x, chunk)
        probability = _probability(scores.value, results.lse.T[:, rows])
        grad_probability = d_out[:, rows] @ x.v[:, keys].mT
        if grad_mean is not None or grad_variance is not None:
            assert x.k_position is not None
            offset = x.k_position[keys] - results.mean.transpose(0, 1)[:, rows, None]
            pull = torch.zeros_like(offset)
            if grad_mean is not None:
                grad_probability = grad_probability + (
                    offset * grad_mean.transpose(0, 1)[:, rows, None]
                ).sum(-1)
                pull = pull + grad_mean.transpose(0, 1)[:, rows, None]
            if grad_variance is not None:
                weight = grad_variance.T[:, rows, None]
                grad_probability = grad_probability + weight * offset.square().sum(-1)
                pull = pull + 2 * weight[..., None] * offset
            if grad_k_position is not None:
                grad_k_position[keys] += (probability[..., None] * pull).sum((0, 1))
        grad_score = probability * (grad_probability - delta[:, rows, None])
        grad_q[:, rows] = scale * grad_score @ x.k[:, keys]
        grad_k[:, keys] += scale * grad_score.mT @ x.q[:, rows]
        grad_v[:, keys] += probability.mT @ d_out[:, rows]
        if scores.basis is None or grad_parameters is None:
            continue
        gated = grad_score
        if x.q_gate is not None and grad_gate is not None:
            assert scores.ungated is not None
            gate = x.q_gate[:, rows, None]
            slope = (grad_score * scores.ungated).sum(-1)
            unanchored = (gate[..., 0] == 0) & ~slope.isfinite()
            grad_gate[:, rows] = slope.masked_fill(unanchored, 0)
            gated = torch.where(gate == 0, 0, gate * grad_score)
        products = torch.where(gated == 0, 0, gated * scores.basis)
        grad_parameters += products.sum((-1, -2)).T
        if position_gradients:
            slope = _grad_difference(x, scores)
            grad_difference = torch.where(gated[..., None] == 0, 0, gated[..., None] * slope)
            if grad_q_position is not None:
                per_head = -grad_difference.sum(2)
                shared = grad_q_position.shape[0] == 1
                grad_q_position[:, rows] = per_head.sum(0, keepdim=True) if shared else per_head
            if grad_k_position is not None:
                grad_k_position[keys] += grad_difference.sum((0, 1))
    if grad_q_position is not None:
        assert q_position is not None
        grad_q_position = grad_q_position.transpose(0, 1).reshape(q_position.shape)
    return TokenGradients(
        q=grad_q.transpose(0, 1).to(tokens.q.dtype).contiguous(),
        k=_sum_groups(grad_k, tokens.k),
        v=_sum_groups(grad_v, tokens.v),
        bias_parameters=grad_parameters,
        q_position=None if grad_q_position is None else grad_q_position.contiguous(),
        k_position=grad_k_position,
        k_normal=None,
        q_gate=None if grad_gate is None else grad_gate.T.contiguous(),
    )


def _widen(tokens: Tokens, options: Options) -> _Inputs:
    q, k, v = tokens.q, tokens.k, tokens.v
    group = q.shape[1] // k.shape[1]
    dtype = wide(q.dtype)
    q_position = tokens.q_position
    if q_position is not None:
        q_position = q_position[None] if q_position.dim() == 2 else q_position.transpose(0, 1)
    return _Inputs(
        q.to(dtype).transpose(0, 1),
        k.to(dtype).repeat_interleave(group, 1).transpose(0, 1),
        v.to(dtype).repeat_interleave(group, 1).transpose(0, 1),
        tokens.bias_parameters,
        q_position,
        tokens.k_position,
        None if tokens.q_gate is None else tokens.q_gate.T,
        options.terms,
        options.eps,
        options.scale,
    )


def _chunks(tokens: Tokens, causal: bool) -> Iterator[_Chunk]:
    q, k = tokens.q, tokens.k
    q_bounds = [0, q.shape[0]] if tokens.q_offsets is None else tokens.q_offsets.tolist()
    k_bounds = [0, k.shape[0]] if tokens.k_offsets is None else tokens.k_offsets.tolist()
    for b in range(len(q_bounds) - 1):
        first, last = q_bounds[b : b + 2]
        keys = slice(*k_bounds[b : b + 2])
        count = keys.stop - keys.start
        step = max(1, _CHUNK_SCORES // max(1, q.shape[1] * count))
        for begin in range(first, last, step):
            queries = slice(begin, min(begin + step, last))
            hidden = None
            if causal:
                row = torch.arange(queries.start, queries.stop, device=q.device) - last
                column = torch.arange(count, device=q.device) - count
                hidden = column > row[:, None]
            if count > 0:
                yield _Chunk(queries, keys, hidden)


def _scores(x: _Inputs, chunk: _Chunk) -> _Scores:
    value = x.scale * x.q[:, chunk.queries] @ x.k[:, chunk.keys].mT
    basis = difference = ungated = None
    if x.terms:
        assert x.q_position is not None
        assert x.k_position is not None
        assert x.bias_parameters is not None
        difference = x.k_position[chunk.keys] - x.q_position[:, chunk.queries, None]
        basis = torch.stack(_basis(x.terms, x.eps, difference))
        ungated = (x.bias_parameters.T[..., None, None] * basis).sum(0)
        bias = ungated
        if x.q_gate is not None:
            gate = x.q_gate[:, chunk.queries, None]
            bias = torch.where(gate == 0, 0, gate * ungated)
        value = value + bias
    if chunk.hidden is not None:
        value = value.masked_fill(chunk.hidden, -torch.inf)
    return _Scores(value, basis, difference, ungated)


def _basis(terms: Sequence[int], eps: float, difference: Tensor) -> list[Tensor]:
    """Return the functions that the bias parameters multiply, one a parameter."""
    square = difference.square().sum(-1)
    functions: list[Tensor] = []
    for code in terms:
        if code == Distance.code:
            functions.append(-(square + eps**2).sqrt())
        elif code == SquaredDistance.code:
            functions.append(-square)
        elif code == Direction.code:
            functions.extend(difference.unbind(-1))
    return functions


def _grad_difference(x: _Inputs, scores: _Scores) -> Tensor:
    """Return the gradient of the ungated bias with respect to the difference."""
    assert x.bias_parameters is not None
    assert scores.basis is not None
    assert scores.difference is not None
    radial = torch.zeros_like(scores.value)
    constant = x.bias_parameters.new_zeros(x.bias_parameters.shape[0], 1, 1, 3)
    column = 0
    for code in x.terms:
        slope = x.bias_parameters[:, column, None, None]
        if code == Distance.code:
            radial = radial + slope / scores.basis[column]
        elif code == SquaredDistance.code:
            radial = radial - 2 * slope
        elif code == Direction.code:
            constant = x.bias_parameters[:, None, None, column : column + 3]
        column += 3 if code == Direction.code else 1
    return radial[..., None] * scores.difference + constant


def _softmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities, 0 in rows that attend to nothing, and the log of their sums."""
    highest = scores.amax(-1)
    weight = _probability(scores, highest)
    total = weight.sum(-1)
    return weight / total.masked_fill(total == 0, 1)[..., None], highest + total.log()


def _probability(scores: Tensor, lse: Tensor) -> Tensor:
    """Return exp(scores - lse), 0 in rows that attend to nothing."""
    return (scores - lse.masked_fill(lse == -torch.inf, 0)[..., None]).exp()


def _sum_groups(grad: Tensor, like: Tensor) -> Tensor:
    """Return the gradient ``[H, L, D]`` summed over the heads that share a key head."""
    heads = like.shape[1]
    summed = grad.unflatten(0, (heads, grad.shape[0] // heads)).sum(1)
    return summed.transpose(0, 1).to(like.dtype).contiguous()


def _zeros_like(like: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if like is None else torch.zeros_like(like, dtype=dtype)
