"""The learned parameters of a geometric attention bias."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from g2vlm_fast.ops._checks import INT32_MAX, check_integer
from g2vlm_fast.ops._geometry_attention_parameters import kernel_parameters, separate_tables
from g2vlm_fast.ops.bias import BiasSpec, GaussianPowers, NormalDot, RadialBasis, Term
from g2vlm_fast.ops.reference.geometry_attention_bias import BiasTerms, bias_of, pairs_of

NARROWEST, WIDEST = 0.25, 4.0  # metres, standard deviations of Gaussians that training starts from


class GeometryBias(nn.Module):
    """Owns the per-head parameters of a :class:`~g2vlm_fast.ops.bias.BiasSpec`.

    Slopes and weights in ``parameters_per_head [num_heads, spec.num_parameters]`` start at zero, so
    that attention starts as plain attention, and their gradients do not. Gaussians start spread
    out: those of ``GaussianPowers`` from standard deviations of 0.25 m in the first head to 4 m in
    the last, those of ``RadialBasis`` likewise from the first center to the last, with centers
    evenly from 0 to 4 m. Tables start at zero.

    Parameters are free in sign: a slope that training makes negative attends to what is far. They
    stay float32 when the module is cast to half precision, because they multiply metres.
    """

    def __init__(self, spec: BiasSpec, num_heads: int) -> None:
        super().__init__()
        if not isinstance(spec, BiasSpec):
            raise TypeError(f"GeometryBias: spec must be a BiasSpec, got {type(spec).__name__}")
        check_integer("GeometryBias", "num_heads", num_heads, 1, INT32_MAX)
        self.spec = spec
        self.parameters_per_head = nn.Parameter(
            torch.empty(num_heads, spec.num_parameters, dtype=torch.float32)
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set all parameters to what training starts from."""
        sizes = [term.num_parameters for term in self.spec.terms]
        groups = self.parameters_per_head.split(sizes, 1)
        for term, columns in zip(self.spec.terms, groups, strict=True):
            columns.copy_(_start_of(term, len(columns)))

    def forward(self) -> Tensor:
        """Return ``parameters_per_head``, in a copy that outlives what FSDP gathered for it.

        Raises:
            TypeError: mixed precision cast them to half precision.
        """
        parameters = self.parameters_per_head
        if parameters.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"GeometryBias: the parameters came as {parameters.dtype}; where FSDP casts, shard "
                "this module by itself, before those that it belongs to: fully_shard(bias)"
            )
        return parameters.clone()

    def evaluate(
        self,
        difference: Tensor,
        *,
        q_normal: Tensor | None = None,
        k_normal: Tensor | None = None,
    ) -> Tensor:
        """Return the bias of every head, in plain torch: for plots and tests, and differentiable.

        Args:
            difference: ``[..., 3]``, from queries to keys in metres, along the axes that
                ``Direction`` weighs.
            q_normal: ``[..., 3]`` unit normals of the queries; needed with ``NormalDot``.
            k_normal: ``[..., 3]`` unit normals of the keys; needed there.

        Returns:
            ``[..., num_heads]``, what is added to the scores, without a gate.

        Raises:
            ValueError: the last axis is not 3, shapes differ, or a normal is missing.
        """
        for name, value in {"q_normal": q_normal, "k_normal": k_normal}.items():
            if value is not None and value.shape != difference.shape:
                raise ValueError(
                    f"GeometryBias.evaluate: {name} must have the shape of difference, "
                    f"{list(difference.shape)}, got {list(value.shape)}"
                )
        if difference.shape[-1:] != (3,):
            raise ValueError(
                "GeometryBias.evaluate: difference must have the shape [..., 3], got "
                f"{list(difference.shape)}"
            )
        parameters, tables = separate_tables(self.spec, self.parameters_per_head)
        if NormalDot.code in self.spec.codes:
            parameters = kernel_parameters(
                self.spec,
                parameters,
                difference[..., 0].numel(),
                None if q_normal is None else q_normal.reshape(-1, 3),
                k_normal,
                q_frame=None,
                q_gate=None,
            )
        pairs = pairs_of(
            difference.reshape(-1, 1, 3),
            self.spec.eps,
            None if k_normal is None else k_normal.reshape(-1, 1, 3),
        )
        terms = BiasTerms(self.spec.codes, self.spec.counts, self.spec.maximum, self.spec.cell)
        bias = bias_of(terms, parameters, tables, pairs)
        heads = len(self.parameters_per_head)
        return bias.expand(-1, heads).reshape(*difference.shape[:-1], heads)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_wide(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype in (torch.float16, torch.bfloat16):
                return tensor.to(moved.device)
            return moved

        return super()._apply(keep_wide, recurse)

    def extra_repr(self) -> str:
        terms = ", ".join(map(repr, self.spec.terms))
        return f"{terms}, num_heads={self.parameters_per_head.shape[0]}"


def _start_of(term: Term, num_heads: int) -> Tensor:
    """Return the columns ``[num_heads, term.num_parameters]`` that training starts from."""
    start = torch.zeros(num_heads, term.num_parameters)
    if isinstance(term, GaussianPowers):
        start[:, 0] = _precisions(num_heads)
    elif isinstance(term, RadialBasis):
        start[:, term.count : 2 * term.count] = torch.linspace(0, WIDEST, term.count)
        start[:, 2 * term.count :] = _precisions(term.count)
    return start


def _precisions(count: int) -> Tensor:
    """Return the precisions ``1 / (2 sigma^2)`` of widths in geometric progression."""
    logarithms = torch.linspace(math.log(NARROWEST), math.log(WIDEST), count)
    return 0.5 * (-2 * logarithms).exp()
