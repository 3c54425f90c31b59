"""Plain-torch truth of :func:`g2vlm_fast.ops.geometry_attention`.

Segments are visited one by one and their queries in chunks, so that the scores of a long scene
are never in memory at once. ``skip_eps`` is left aside: visiting every pair is within any of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from g2vlm_fast.ops.reference.geometry_attention_bias import (
    BiasTerms,
    Pairs,
    bias_of,
    derivatives_of,
    pairs_of,
)
from g2vlm_fast.ops.reference.philox import philox, seed_words

_CHUNK_NUMBERS = 1 << 23


class _Inputs(NamedTuple):
    """The tensors in the dtype of the arithmetic, heads in front, key heads repeated."""

    q: Tensor  # [H, Lq, D]
    k: Tensor  # [H, Lk, D]
    v: Tensor  # [H, Lk, D]
    bias_parameters: Tensor | None  # [H, 1 or Lq, 1, P]
    bias_tables: Tensor | None  # [H, 1 or Lq, 1, C]
    q_position: Tensor | None  # [1 or H, Lq, 3]
    k_position: Tensor | None  # [Lk, 3]
    k_normal: Tensor | None  # [Lk, 3]
    q_gate: Tensor | None  # [H, Lq]
    terms: BiasTerms
    eps: float
    scale: float


class _Chunk(NamedTuple):
    """Some queries of one segment, all of its keys, which are hidden and which dropout drops."""

    queries: slice
    keys: slice
    hidden: Tensor | None  # [1 or rows, n] bool
    kept: Tensor | None  # [H, rows, n], 0 or 1 / (1 - dropout)


class _Scores(NamedTuple):
    value: Tensor  # [H, rows, n]
    pairs: Pairs | None  # [1 or H, rows, n]
    bias_parameters: Tensor | None  # [H, 1 or rows, 1, P]
    bias_tables: Tensor | None  # [H, 1 or rows, 1, C]
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
    for chunk in _chunks(tokens, options):
        scores = _scores(inputs, chunk)
        probability, lse[:, chunk.queries] = _softmax(scores.value)
        out[:, chunk.queries] = _dropped(probability, chunk) @ inputs.v[:, chunk.keys]
        if position_mean:
            assert inputs.k_position is not None
            position = inputs.k_position[chunk.keys]
            center = _first_seen(position, chunk)
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
    P averages: they add ``e . (d_mean + d_variance e)`` to dP, with ``e = k_position - mean``.
    """
    x = _widen(tokens, options)
    dtype, scale, q_position = x.q.dtype, options.scale, tokens.q_position
    grad_mean, grad_variance = grads.mean, grads.variance
    grad_q, grad_k, grad_v = map(torch.zeros_like, (x.q, x.k, x.v))
    grad_parameters = _zeros_like(x.bias_parameters, dtype)
    grad_tables = _zeros_like(x.bias_tables, dtype)
    grad_gate = _zeros_like(x.q_gate, dtype)
    grad_q_position = _zeros_like(x.q_position if position_gradients else None, dtype)
    grad_k_position = _zeros_like(x.k_position if position_gradients else None, dtype)
    grad_k_normal = _zeros_like(x.k_normal if position_gradients else None, dtype)
    d_out = torch.zeros_like(x.q) if grads.out is None else grads.out.to(dtype).transpose(0, 1)
    for chunk in _chunks(tokens, options):
        rows, keys = chunk.queries, chunk.keys
        scores = _scores(x, chunk)
        probability, _ = _softmax(scores.value)  # not from lse, which float32 rounds
        grad_probability = _dropped(d_out[:, rows] @ x.v[:, keys].mT, chunk)
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
        delta = (probability * grad_probability).sum(-1, keepdim=True)
        if grads.lse is not None:
            delta = delta - grads.lse.T[:, rows, None]
        grad_score = probability * (grad_probability - delta)
        grad_q[:, rows] = scale * grad_score @ x.k[:, keys]
        grad_k[:, keys] += scale * grad_score.mT @ x.q[:, rows]
        grad_v[:, keys] += _dropped(probability, chunk).mT @ d_out[:, rows]
        if scores.pairs is None:
            continue
        assert scores.bias_parameters is not None
        gated = grad_score
        if x.q_gate is not None and grad_gate is not None:
            assert scores.ungated is not None
            gate = x.q_gate[:, rows, None]
            slope = (grad_score * scores.ungated).sum(-1)
            unanchored = (gate[..., 0] == 0) & ~slope.isfinite()
            grad_gate[:, rows] = slope.masked_fill(unanchored, 0)
            gated = torch.where(gate == 0, 0, gate * grad_score)
        derivatives = derivatives_of(
            x.terms, scores.bias_parameters, scores.bias_tables, scores.pairs
        )
        _add_by_column(grad_parameters, rows, gated, derivatives.parameters)
        _add_by_column(grad_tables, rows, gated, derivatives.tables)
        if position_gradients:
            radial = derivatives.radial[..., None]
            slope = _pull(radial, scores.pairs.difference) + derivatives.direction
            grad_difference = _pull(gated[..., None], slope)
            if grad_q_position is not None:
                per_head = -grad_difference.sum(2)
                shared = grad_q_position.shape[0] == 1
                grad_q_position[:, rows] = per_head.sum(0, keepdim=True) if shared else per_head
            if grad_k_position is not None:
                grad_k_position[keys] += grad_difference.sum((0, 1))
        if grad_k_normal is not None:
            grad_k_normal[keys] += _pull(gated[..., None], derivatives.k_normal).sum((0, 1))
    if grad_q_position is not None:
        assert q_position is not None
        grad_q_position = grad_q_position.transpose(0, 1).reshape(q_position.shape)
    return TokenGradients(
        q=grad_q.transpose(0, 1).to(tokens.q.dtype).contiguous(),
        k=_seen(_sum_groups(grad_k, tokens.k), tokens.k_mask),
        v=_seen(_sum_groups(grad_v, tokens.v), tokens.k_mask),
        bias_parameters=_packed_parameters(grad_parameters, tokens.bias_parameters),
        bias_tables=_packed_parameters(grad_tables, tokens.bias_tables),
        q_position=None if grad_q_position is None else grad_q_position.contiguous(),
        k_position=None if grad_k_position is None else _seen(grad_k_position, tokens.k_mask),
        k_normal=None if grad_k_normal is None else _seen(grad_k_normal, tokens.k_mask),
        q_gate=None if grad_gate is None else grad_gate.T.contiguous(),
    )


def _widen(tokens: Tokens, options: Options) -> _Inputs:
    q, k, v = tokens.q, tokens.k, tokens.v
    group = q.shape[1] // k.shape[1]
    dtype = wide(q.dtype)
    q_position = tokens.q_position
    if q_position is not None:
        q_position = q_position[None] if q_position.dim() == 2 else q_position.transpose(0, 1)
    mask = tokens.k_mask
    return _Inputs(
        q.to(dtype).transpose(0, 1),
        _seen(k, mask).to(dtype).repeat_interleave(group, 1).transpose(0, 1),
        _seen(v, mask).to(dtype).repeat_interleave(group, 1).transpose(0, 1),
        _per_head(tokens.bias_parameters),
        _per_head(tokens.bias_tables),
        q_position,
        None if tokens.k_position is None else _seen(tokens.k_position, mask),
        None if tokens.k_normal is None else _seen(tokens.k_normal, mask),
        None if tokens.q_gate is None else tokens.q_gate.T,
        BiasTerms(options.terms, options.counts, options.maximum, options.cell),
        options.eps,
        options.scale,
    )


def _per_head(parameters: Tensor | None) -> Tensor | None:
    """Return parameters ``[H, P]`` or ``[Lq, H, P]`` as ``[H, 1 or Lq, 1, P]``."""
    if parameters is None:
        return None
    parameters = parameters.unsqueeze(-2)
    return parameters[:, None] if parameters.dim() == 3 else parameters.transpose(0, 1)


def _of_rows(parameters: Tensor | None, rows: slice) -> Tensor | None:
    """Return those ``[H, 1 or rows, 1, P]`` that some queries have."""
    if parameters is None or parameters.shape[1] == 1:
        return parameters
    return parameters[:, rows]


def _seen(keys: Tensor, mask: Tensor | None) -> Tensor:
    """Return rows of keys, 0 instead of whatever stands in those that the mask hides."""
    return keys if mask is None else torch.where(mask.view(-1, *[1] * (keys.dim() - 1)), keys, 0)


def _chunks(tokens: Tokens, options: Options) -> Iterator[_Chunk]:
    q, k = tokens.q, tokens.k
    q_bounds = [0, q.shape[0]] if tokens.q_offsets is None else tokens.q_offsets.tolist()
    k_bounds = [0, k.shape[0]] if tokens.k_offsets is None else tokens.k_offsets.tolist()
    columns = 0 if tokens.bias_parameters is None else tokens.bias_parameters.shape[-1]
    extras = (options.dropout > 0) + (tokens.bias_tables is not None)
    chunk_scores = _CHUNK_NUMBERS // (1 + columns + 8 * extras)
    for b in range(len(q_bounds) - 1):
        first, last = q_bounds[b : b + 2]
        keys = slice(*k_bounds[b : b + 2])
        count = keys.stop - keys.start
        step = max(1, chunk_scores // max(1, q.shape[1] * count))
        for begin in range(first, last, step):
            queries = slice(begin, min(begin + step, last))
            hidden = None if tokens.k_mask is None else ~tokens.k_mask[None, keys]
            if options.causal:
                row = torch.arange(queries.start, queries.stop, device=q.device) - last
                column = torch.arange(count, device=q.device) - count
                ahead = column > row[:, None]
                hidden = ahead if hidden is None else hidden | ahead
            if count > 0:
                yield _Chunk(queries, keys, hidden, _kept(tokens, options, queries, keys))


def _kept(tokens: Tokens, options: Options, queries: slice, keys: slice) -> Tensor | None:
    """Return the factor ``[H, rows, n]`` of each probability under dropout.

    A pair is kept where 24 random bits, as a fraction of 1, reach ``dropout``. They belong to its
    rows in the packed tensors and its head, so that no cut into chunks changes them.
    """
    if options.dropout == 0:
        return None
    assert tokens.dropout_seed is not None
    q = tokens.q
    key = torch.arange(keys.start, keys.stop, device=q.device)
    query = torch.arange(queries.start, queries.stop, device=q.device)[:, None]
    head = torch.arange(q.shape[1], device=q.device)[:, None, None]
    word, *_ = philox((key, query, head, torch.zeros_like(key)), seed_words(tokens.dropout_seed))
    kept = (word >> 8).double() * 2.0**-24 >= options.dropout
    return kept.to(wide(q.dtype)) / (1 - options.dropout)


def _dropped(values: Tensor, chunk: _Chunk) -> Tensor:
    return values if chunk.kept is None else values * chunk.kept


def _first_seen(position: Tensor, chunk: _Chunk) -> Tensor:
    """Return the position ``[1, 3]`` of the first key that a query of the chunk may see."""
    if chunk.hidden is None:
        return position[:1]
    return position[(~chunk.hidden).any(0).int().argmax()][None]


def _scores(x: _Inputs, chunk: _Chunk) -> _Scores:
    value = x.scale * x.q[:, chunk.queries] @ x.k[:, chunk.keys].mT
    pairs = ungated = None
    parameters = _of_rows(x.bias_parameters, chunk.queries)
    tables = _of_rows(x.bias_tables, chunk.queries)
    if parameters is not None:
        assert x.q_position is not None
        assert x.k_position is not None
        difference = x.k_position[chunk.keys] - x.q_position[:, chunk.queries, None]
        k_normal = None if x.k_normal is None else x.k_normal[chunk.keys]
        pairs = pairs_of(difference, x.eps, k_normal)
        ungated = bias_of(x.terms, parameters, tables, pairs)
        bias = ungated
        if x.q_gate is not None:
            gate = x.q_gate[:, chunk.queries, None]
            bias = torch.where(gate == 0, 0, gate * ungated)
        value = value + bias
    if chunk.hidden is not None:
        value = value.masked_fill(chunk.hidden, -torch.inf)
    return _Scores(value, pairs, parameters, tables, ungated)


def _pull(grad: Tensor, slope: Tensor) -> Tensor:
    """Return their product, 0 where nothing pulls, though the slope be not a number."""
    return torch.where(grad == 0, 0, grad * slope)


def _add_by_column(
    total: Tensor | None, rows: slice, gated: Tensor, slopes: Iterable[Tensor]
) -> None:
    """Add what each column ``[H, 1 or Lq, 1, P]`` of parameters gets from the pairs of rows."""
    if total is None or total.shape[-1] == 0:
        return
    by_row = torch.stack([_pull(gated, each).sum(-1) for each in slopes], -1)
    if total.shape[1] == 1:
        total[:, 0, 0] += by_row.sum(1)
    else:
        total[:, rows, 0] = by_row


def _packed_parameters(grad: Tensor | None, like: Tensor | None) -> Tensor | None:
    """Return the gradient ``[H, 1 or Lq, 1, P]`` in the shape of the parameters."""
    if grad is None or like is None:
        return None
    return grad.transpose(0, 1).reshape(like.shape)


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
