"""What ``geometry_attention`` asks of its arguments; messages name them as the caller does."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._checks import check_instance, check_number, check_rows, check_tensor
from g2vlm_fast.ops._geometry_attention_arguments import wide
from g2vlm_fast.ops.bias import BiasSpec

MAX_HEAD_DIM = 256

_OP = "geometry_attention"
_EXACT = frozenset({torch.float64, torch.int32})  # of positions, beside the wide dtype


def check_tokens(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    spec: BiasSpec,
    bias_parameters: Tensor | None,
    q_position: Tensor | None,
    k_position: Tensor | None,
    q_gate: Tensor | None,
) -> None:
    """Check what every call has, or has with a bias."""
    sizes: dict[str, int] = {}
    check_tensor(_OP, "q", q, ("Lq", "H", "D"), _dispatch.FLOATS, sizes)
    check_tensor(_OP, "k", k, ("Lk", "Hkv", "D"), {q.dtype}, sizes, q.device)
    check_tensor(_OP, "v", v, ("Lk", "Hkv", "D"), {q.dtype}, sizes, q.device)
    check_rows(_OP, "q", q)
    check_rows(_OP, "k", k)
    heads, dim = q.shape[1:]
    if not 1 <= dim <= MAX_HEAD_DIM:
        raise ValueError(f"{_OP}: D must be from 1 to {MAX_HEAD_DIM}, got q {list(q.shape)}")
    if k.shape[1] == 0 or heads == 0 or heads % k.shape[1] != 0:
        raise ValueError(
            f"{_OP}: the heads of q must be a multiple of those of k, got {heads} and {k.shape[1]}"
        )
    check_instance(_OP, "bias", spec, BiasSpec)
    wides = {wide(q.dtype)}
    if bias_parameters is not None:
        own = isinstance(bias_parameters, Tensor) and bias_parameters.dim() == 3
        shape: tuple[str | int, ...] = ("H", spec.num_parameters)
        shape = ("Lq", *shape) if own else shape
        check_tensor(_OP, "bias_parameters", bias_parameters, shape, wides, sizes, q.device)
    if q_position is not None:
        per_head = isinstance(q_position, Tensor) and q_position.dim() == 3
        shape = ("Lq", "H", 3) if per_head else ("Lq", 3)
        check_tensor(_OP, "q_position", q_position, shape, wides | _EXACT, sizes, q.device)
    if k_position is not None:
        check_tensor(_OP, "k_position", k_position, ("Lk", 3), wides | _EXACT, sizes, q.device)
    if q_gate is not None:
        check_tensor(_OP, "q_gate", q_gate, ("Lq", "H"), wides, sizes, q.device)


def check_sides(
    q: Tensor,
    k: Tensor,
    q_normal: Tensor | None,
    k_normal: Tensor | None,
    q_frame: Tensor | None,
    k_mask: Tensor | None,
) -> None:
    """Check what few calls have: how both sides face, and which keys are padding."""
    sizes = {"Lq": q.shape[0], "Lk": k.shape[0]}
    wides = {wide(q.dtype)}
    if q_normal is not None:
        check_tensor(_OP, "q_normal", q_normal, ("Lq", 3), wides, sizes, q.device)
    if k_normal is not None:
        check_tensor(_OP, "k_normal", k_normal, ("Lk", 3), wides, sizes, q.device)
    if q_frame is not None:
        check_tensor(_OP, "q_frame", q_frame, ("Lq", 3, 3), wides, sizes, q.device)
    if k_mask is not None:
        check_tensor(_OP, "k_mask", k_mask, ("Lk",), {torch.bool}, sizes, q.device)


def check_position_unit(unit: float) -> float:
    unit = check_number(_OP, "position_unit", unit)
    if not 0 < unit < torch.inf:
        raise ValueError(f"{_OP}: position_unit must be positive and finite, got {unit}")
    return unit


def check_dropout(q: Tensor, dropout: float, seed: Tensor | None) -> tuple[float, Tensor | None]:
    """Check dropout and its seed, and draw one where none came and one is needed."""
    dropout = check_number(_OP, "dropout", dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"{_OP}: dropout must be at least 0 and below 1, got {dropout}")
    if seed is not None:
        check_tensor(_OP, "dropout_seed", seed, (1,), {torch.int64}, {}, q.device)
    if dropout == 0:
        return dropout, None
    return dropout, torch.randint(2**63 - 1, (1,), device=q.device) if seed is None else seed


def check_skip_eps(skip_eps: float) -> float:
    """Check how much of a row may be skipped."""
    skip_eps = check_number(_OP, "skip_eps", skip_eps)
    if not 0 <= skip_eps < 1:
        raise ValueError(
            f"{_OP}: skip_eps must be at least 0 and below 1, or None to skip nothing, got "
            f"{skip_eps}"
        )
    return skip_eps
