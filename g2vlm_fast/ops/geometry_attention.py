"""Attention with a learned geometric bias, over packed tokens that stand somewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._autograd import first_derivative_only
from g2vlm_fast.ops._checks import (
    check_flag,
    check_number,
    check_offset_values,
    check_offsets,
)
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._geometry_attention_arguments import (
    Options,
    ResultGradients,
    Results,
    TokenGradients,
    Tokens,
    empty_gradients,
    empty_results,
    wide,
)
from g2vlm_fast.ops._geometry_attention_backends import register
from g2vlm_fast.ops._geometry_attention_checks import (
    check_dropout,
    check_position_unit,
    check_sides,
    check_skip_eps,
    check_tokens,
)
from g2vlm_fast.ops._geometry_attention_parameters import kernel_parameters, separate_tables
from g2vlm_fast.ops._geometry_attention_positions import are_exact, relative_positions
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.bias import BiasSpec, Direction, NormalDot

POSITION_UNIT = 1e-4  # metres
MINIMUM_SPREAD = 1e-3  # metres; keeps the gradient of the spread finite

_OP = "geometry_attention"


class GeometryAttentionResult(NamedTuple):
    """What attention returns beside its output; fields that were not asked for are None."""

    out: Tensor
    lse: Tensor | None
    position_mean: Tensor | None
    position_spread: Tensor | None


def geometry_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    bias: BiasSpec | None = None,
    bias_parameters: Tensor | None = None,
    q_position: Tensor | None = None,
    k_position: Tensor | None = None,
    q_normal: Tensor | None = None,
    k_normal: Tensor | None = None,
    q_frame: Tensor | None = None,
    q_gate: Tensor | None = None,
    k_mask: Tensor | None = None,
    q_offsets: Tensor | None = None,
    k_offsets: Tensor | None = None,
    position_unit: float = POSITION_UNIT,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    dropout_seed: Tensor | None = None,
    skip_eps: float | None = None,
    return_lse: bool = False,
    return_position_mean: bool = False,
) -> Tensor | GeometryAttentionResult:
    """Attend within each packed segment, with a bias that depends on where tokens stand.

    The score of query i, key j and head h is ``scale * q_i . k_j + q_gate_ih * bias_hij``, where
    the bias is the sum of the terms of :mod:`g2vlm_fast.ops.bias`, functions of
    ``k_position_j - q_position_i`` in metres with learned parameters. Scores are never in memory
    at once (online softmax: Milakov and Gimelshein, 2018; Dao et al., 2022). The floating type
    "wide" below is float64 where q is float64 and float32 otherwise: what stands in metres, gates
    and bias parameters never pass through half precision.

    Args:
        q: ``[Lq, H, D]`` float16, bfloat16, float32 or float64; D at most 256.
        k: ``[Lk, Hkv, D]``, H a multiple of Hkv: consecutive heads of q share a head of k.
        v: ``[Lk, Hkv, D]``.
        bias: the terms; None or ``BiasSpec()`` for plain attention.
        bias_parameters: ``[H, bias.num_parameters]`` wide, or ``[Lq, H, bias.num_parameters]``
            where every query has its own; needed where the bias has terms.
        q_position: ``[Lq, 3]``, or ``[Lq, H, 3]`` for a place of each head, wide or float64 metres,
            or int32 in units of ``position_unit``, which no mixed-precision engine rounds; needed
            where the bias has terms.
        k_position: ``[Lk, 3]``, as q_position; needed there and for ``return_position_mean``.
        q_normal: ``[Lq, 3]`` wide, unit vectors; needed with the term ``NormalDot``.
        k_normal: ``[Lk, 3]`` wide, unit vectors; needed there.
        q_frame: ``[Lq, 3, 3]`` wide, rows are the unit axes of each query's own frame in the
            world (say left, behind, above), along which ``Direction`` then weighs; None for the
            axes of the world.
        q_gate: ``[Lq, H]`` wide in [0, 1], multiplies the whole bias of a row. Where it is 0 the
            bias is exactly 0, even if the position, the normal, the frame or the row's own
            parameters are NaN (a token that stands nowhere).
        k_mask: ``[Lk]`` bool, False for padding: no query sees such a key, and nothing that
            stands in its rows, NaN included, reaches anything. None for True.
        q_offsets: ``[B + 1]`` int32, the segments of the queries; None for one segment.
        k_offsets: ``[B + 1]`` int32, the segments of the keys.
        position_unit: metres of one step of an integer position.
        causal: the last query of a segment sees all of its keys, the one before all but one, ...
        scale: factor of ``q . k``; None for ``1 / sqrt(D)``.
        dropout: probability in [0, 1) with which a pair is left out after the softmax; what is
            kept is divided by ``1 - dropout``. The lse, the mean and the spread are those without
            dropout.
        dropout_seed: ``[1]`` int64. The pairs that are kept depend on it and on their rows in the
            packed tensors and their head alone (Philox-4x32-10: Salmon et al., 2011). None to
            draw one from torch's generator of the device.
        skip_eps: None to visit every pair. From 0 to below 1: whole tiles of pairs may be left
            out, forward and backward, whose probabilities provably sum to at most ``skip_eps`` a
            row (the proof is in ``kernels/triton/geometry_attention_bounds.py``). The output then
            moves by at most ``2 skip_eps`` of the largest value, the mean by as much of the
            farthest key. With 0 it stays bitwise the same, but for the sign of zeros, where values
            and gradients are finite. Positions in the order of an
            :class:`~g2vlm_fast.ops.AnchorContext` decide how much is left out, not what is right.
            Which heads gain from it are those with large slopes of ``Distance`` or
            ``SquaredDistance``. The backends ``cpu`` and ``reference`` visit every pair, which is
            within any ``skip_eps``.
        return_lse: also return the natural logarithm of the sum of exponentials of each row.
        return_position_mean: also return where each row looks.

    Returns:
        ``out [Lq, H, D]`` in q's dtype, or with ``return_lse`` or ``return_position_mean`` a
        :class:`GeometryAttentionResult` with ``lse [Lq, H]``, ``position_mean [Lq, H, 3]`` (the
        mean of key positions under the attention of the row, metres) and ``position_spread
        [Lq, H]`` (``sqrt(variance + 1 mm^2)``, metres), all wide, the mean float64 where positions
        are float64 or int32. Rows without a visible key have out 0, lse ``-inf``, mean 0, spread
        ``inf`` and zero gradients.

    Differentiable in every floating input through every output; not twice.

    NaN and infinity that neither gate nor mask hides reach the row of their query, or from a key
    the rows of its segment, and the gradients there; other segments stay as they were, except in
    gradients of what all share.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value, or is
            missing.
        NotImplementedError: the bias has a table, and the backend no kernel for it.
    """
    spec = _PLAIN if bias is None else bias
    check_tokens(q, k, v, spec, bias_parameters, q_position, k_position, q_gate)
    if q_normal is not None or k_normal is not None or q_frame is not None or k_mask is not None:
        check_sides(q, k, q_normal, k_normal, q_frame, k_mask)
    if type(dropout) is not float or dropout != 0 or dropout_seed is not None:
        dropout, dropout_seed = check_dropout(q, dropout, dropout_seed)
    if skip_eps is not None:
        skip_eps = check_skip_eps(skip_eps)
    if type(position_unit) is not float or position_unit != POSITION_UNIT:
        position_unit = check_position_unit(position_unit)
    if q_offsets is not None or k_offsets is not None:
        segments: dict[str, int] = {}
        check_offsets(_OP, "q_offsets", q_offsets, segments, q.device)
        check_offsets(_OP, "k_offsets", k_offsets, segments, q.device)
    check_flag(_OP, "causal", causal)
    check_flag(_OP, "return_lse", return_lse)
    check_flag(_OP, "return_position_mean", return_position_mean)
    bias_tables = None
    if not spec.codes:
        bias_parameters = q_position = q_gate = k_normal = None
        if not return_position_mean:
            k_position = None
    elif bias_parameters is None or q_position is None or k_position is None:
        given = {
            "bias_parameters": bias_parameters,
            "q_position": q_position,
            "k_position": k_position,
        }
        absent = " and ".join(name for name, value in given.items() if value is None)
        raise ValueError(f"{_OP}: a bias with terms needs {absent}; pass it, or bias=None")
    else:
        bias_parameters, bias_tables = separate_tables(spec, bias_parameters)
        if NormalDot.code in spec.codes or (q_frame is not None and Direction.code in spec.codes):
            bias_parameters = kernel_parameters(
                spec, bias_parameters, q.shape[0], q_normal, k_normal, q_frame, q_gate
            )
    if NormalDot.code not in spec.codes:
        k_normal = None
    if return_position_mean and k_position is None:
        raise ValueError(f"{_OP}: return_position_mean needs k_position; pass it")
    q_origin = None
    if k_position is not None and are_exact(q, q_position, k_position):
        q_position, k_position, q_origin = relative_positions(
            q_position, k_position, k_mask, q_offsets, k_offsets, q, position_unit
        )
    if scale is None:
        scale = q.shape[2] ** -0.5
    else:
        scale = check_number(_OP, "scale", scale)
        if abs(scale) == torch.inf:
            raise ValueError(f"{_OP}: scale must be finite, got {scale}")
    if torch.compiler.is_compiling():
        # Self-attention passes one tensor twice, which Dynamo refuses in an autograd.Function.
        k, v = k.view_as(k), v.view_as(v)
        if k_position is not None:
            k_position = k_position.view_as(k_position)
        if k_normal is not None:
            k_normal = k_normal.view_as(k_normal)
        if k_offsets is not None:
            k_offsets = k_offsets.view_as(k_offsets)
    tokens = Tokens(
        q, k, v, bias_parameters, bias_tables, q_position, k_position, k_normal, q_gate, k_mask,
        q_offsets, k_offsets, dropout_seed,
    )  # fmt: skip
    options = Options(
        spec.codes, spec.counts, spec.eps, causal, scale, dropout, spec.maximum, spec.cell, skip_eps
    )
    run: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]] = _forward
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tokens):
        run = _GeometryAttention.apply
    out, lse, mean, variance = run(*tokens, *options, return_position_mean)
    if not (return_lse or return_position_mean):
        return out
    if not return_position_mean:
        return GeometryAttentionResult(out, lse, None, None)
    if q_origin is not None:
        mean = torch.where(lse[..., None] == -torch.inf, 0, mean + q_origin[:, None])
    spread = torch.where(lse == -torch.inf, torch.inf, (variance + MINIMUM_SPREAD**2).sqrt())
    return GeometryAttentionResult(out, lse if return_lse else None, mean, spread)


_PLAIN = BiasSpec()


# The ops take records field by field: these are the ranges of their arguments.
_FORWARD_TOKENS, _FORWARD_OPTIONS = slice(0, 13), slice(13, 22)
_BACKWARD_TOKENS, _BACKWARD_RESULTS, _BACKWARD_OPTIONS = slice(4, 17), slice(17, 21), slice(21, 30)
_NUM_FORWARD_ARGUMENTS = 23


class _GeometryAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        results = _forward(*arguments)
        ctx.save_for_backward(*arguments[_FORWARD_TOKENS], *results)
        ctx.options = arguments[_FORWARD_OPTIONS]
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    @first_derivative_only("geometry_attention")
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        if all(grad is None for grad in grads):
            return (None,) * _NUM_FORWARD_ARGUMENTS
        position_gradients = any(ctx.needs_input_grad[5:8])
        gradients = _backward(*grads, *ctx.saved_tensors, *ctx.options, position_gradients)
        present = [
            gradient if needed else None
            for gradient, needed in zip(gradients, ctx.needs_input_grad, strict=False)
        ]
        return (*present, *(None,) * (_NUM_FORWARD_ARGUMENTS - len(present)))


def _run_forward(*arguments: Any) -> Results:
    tokens = Tokens(*arguments[_FORWARD_TOKENS])
    check_offset_values(_OP, "q_offsets", tokens.q_offsets, tokens.q.shape[0])
    check_offset_values(_OP, "k_offsets", tokens.k_offsets, tokens.k.shape[0])
    run = _dispatch.implementation(_OP, tokens.q)
    results: Results = run(tokens, Options(*arguments[_FORWARD_OPTIONS]), arguments[-1])
    return results


def _run_backward(*arguments: Any) -> tuple[Tensor, ...]:
    grads = ResultGradients(*arguments[:4])
    tokens, results = Tokens(*arguments[_BACKWARD_TOKENS]), Results(*arguments[_BACKWARD_RESULTS])
    if results.mean.shape[0] == 0:
        # The mean was not asked for; compiled graphs pass gradients without rows.
        grads = grads._replace(mean=None, variance=None)
    run = _dispatch.implementation(f"{_OP}_backward", tokens.q)
    options = Options(*arguments[_BACKWARD_OPTIONS])
    return _without_gaps(run(grads, tokens, results, options, arguments[-1]))


def _run_forward_fake(*arguments: Any) -> Results:
    return empty_results(arguments[0], arguments[-1])


def _run_backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    return _without_gaps(empty_gradients(Tokens(*arguments[_BACKWARD_TOKENS]), arguments[-1]))


def _without_gaps(gradients: TokenGradients) -> tuple[Tensor, ...]:
    """Return gradients as the op does: a tensor without elements for each None."""
    q = gradients.q
    return tuple(q.new_empty(0, dtype=wide(q.dtype)) if x is None else x for x in gradients)


register(_OP)

_TENSORS = (
    "Tensor q, Tensor k, Tensor v, Tensor? bias_parameters, Tensor? bias_tables, "
    "Tensor? q_position, Tensor? k_position, Tensor? k_normal, Tensor? q_gate, Tensor? k_mask, "
    "Tensor? q_offsets, Tensor? k_offsets, Tensor? dropout_seed"
)
_STATIC = (
    "int[] terms, int[] counts, float eps, bool causal, float scale, float dropout, "
    "float maximum, float cell, float? skip_eps"
)

_forward = define_op(
    f"{_OP}({_TENSORS}, {_STATIC}, bool position_mean) -> (Tensor, Tensor, Tensor, Tensor)",
    implementation=_run_forward,
    fake=_run_forward_fake,
)
_backward = define_op(
    f"{_OP}_backward(Tensor? grad_out, Tensor? grad_lse, Tensor? grad_mean, "
    f"Tensor? grad_variance, {_TENSORS}, Tensor out, Tensor lse, Tensor mean, Tensor variance, "
    f"{_STATIC}, bool position_gradients) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    implementation=_run_backward,
    fake=_run_backward_fake,
)


def _products(tokens: Tokens) -> int:
    """Count the multiply-adds of one product of scores, twice each, from the shapes of tokens.

    Lengths of segments are data: they are taken as equal, which is exact for one segment.
    """
    segments = 1 if tokens.q_offsets is None else tokens.q_offsets[0] - 1
    rows, heads, dim = tokens.q
    return int(2 * rows * tokens.k[0] * heads * dim // segments)


def _flops(*arguments: Any, **_: Any) -> int:
    """Return 4 Lq Lk H D: the scores, and the weighted sum of values."""
    return 2 * _products(Tokens(*arguments[_FORWARD_TOKENS]))


def _flops_backward(*arguments: Any, **_: Any) -> int:
    """Return 10 Lq Lk H D: scores again, and the gradients of probabilities, q, k and v."""
    return 5 * _products(Tokens(*arguments[_BACKWARD_TOKENS]))


flop_formula(_OP, _flops)
flop_formula(f"{_OP}_backward", _flops_backward)
