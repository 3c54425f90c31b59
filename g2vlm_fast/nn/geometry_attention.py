"""Multi-head attention between packed tokens that stand somewhere."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from g2vlm_fast.nn.geometry_bias import GeometryBias
from g2vlm_fast.ops._checks import INT32_MAX, check_integer, check_number
from g2vlm_fast.ops._geometry_attention_checks import MAX_HEAD_DIM
from g2vlm_fast.ops.bias import BiasSpec
from g2vlm_fast.ops.geometry_attention import GeometryAttentionResult, geometry_attention


class _GeometryAttention(nn.Module):
    """Projections around the op; what attends to what is said by the two classes below."""

    def __init__(
        self,
        dim: int,
        context_dim: int,
        num_heads: int,
        num_kv_heads: int | None,
        bias: BiasSpec | None,
        head_dim: int | None,
        qk_norm: bool,
        dropout: float,
        projection_bias: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not 0 <= check_number(name, "dropout", dropout) < 1:
            raise ValueError(f"{name}: dropout must be in [0, 1), got {dropout}")
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        sizes = {"dim": dim, "context_dim": context_dim}
        sizes |= {"num_heads": num_heads, "num_kv_heads": num_kv_heads}
        for argument, value in sizes.items():
            check_integer(name, argument, value, 1, INT32_MAX)
        if num_heads % num_kv_heads:
            raise ValueError(
                f"{name}: num_heads must be a multiple of num_kv_heads, got "
                f"{num_heads} and {num_kv_heads}"
            )
        if head_dim is None:
            if dim % num_heads:
                raise ValueError(
                    f"{name}: dim {dim} is not a multiple of num_heads {num_heads}; pass head_dim"
                )
            head_dim = dim // num_heads
        check_integer(name, "head_dim", head_dim, 1, MAX_HEAD_DIM)
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim
        self.dropout = float(dropout)
        self.query = nn.Linear(dim, num_heads * head_dim, bias=projection_bias)
        self.key = nn.Linear(context_dim, num_kv_heads * head_dim, bias=projection_bias)
        self.value = nn.Linear(context_dim, num_kv_heads * head_dim, bias=projection_bias)
        self.output = nn.Linear(num_heads * head_dim, dim, bias=projection_bias)
        self.query_norm = nn.RMSNorm(head_dim) if qk_norm else None
        self.key_norm = nn.RMSNorm(head_dim) if qk_norm else None
        self.geometry_bias = None if bias is None else GeometryBias(bias, num_heads)

    def _attend(
        self, tokens: Tensor, context: Tensor, *, bias_parameters: Tensor | None, **arguments: Any
    ) -> Tensor | GeometryAttentionResult:
        """Project, run the op with arguments of its own names, and project back."""
        value = self.value(context).unflatten(-1, (self.num_kv_heads, self.head_dim))
        query = self.query(tokens).unflatten(-1, (self.num_heads, self.head_dim))
        key = self.key(context).unflatten(-1, (self.num_kv_heads, self.head_dim))
        spec = None
        if self.geometry_bias is not None:
            spec = self.geometry_bias.spec
            if bias_parameters is None:
                bias_parameters = self.geometry_bias()
        elif bias_parameters is not None:
            raise ValueError(
                f"{type(self).__name__}: bias_parameters need terms; create the module with bias="
            )
        result = geometry_attention(
            _normalize(self.query_norm, query),
            _normalize(self.key_norm, key),
            value,
            bias=spec,
            bias_parameters=bias_parameters,
            dropout=self.dropout if self.training else 0.0,
            **arguments,
        )
        if isinstance(result, Tensor):
            return self.output(result.flatten(1))
        return result._replace(out=self.output(result.out.flatten(1)))


class GeometrySelfAttention(_GeometryAttention):
    """Self-attention with a geometric bias.

    Args:
        dim: channels of the tokens.
        num_heads: query heads.
        num_kv_heads: heads of keys and values, a divisor of ``num_heads`` (grouped-query
            attention: Ainslie et al., 2023); None for ``num_heads``.
        bias: the terms of the bias; None for plain attention.
        head_dim: channels of a head; None for ``dim // num_heads``.
        qk_norm: normalise queries and keys to unit root mean square, with a learned gain
            (Henry et al., 2020).
        dropout: probability of leaving a pair out after the softmax, in training.
        causal: each token sees itself and what comes before it in its segment.
        projection_bias: whether the four projections have additive biases.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        *,
        bias: BiasSpec | None = None,
        head_dim: int | None = None,
        qk_norm: bool = False,
        dropout: float = 0.0,
        causal: bool = False,
        projection_bias: bool = True,
    ) -> None:
        super().__init__(
            dim, dim, num_heads, num_kv_heads, bias, head_dim, qk_norm, dropout, projection_bias
        )
        self.causal = causal

    def forward(
        self,
        tokens: Tensor,
        *,
        position: Tensor | None = None,
        normal: Tensor | None = None,
        frame: Tensor | None = None,
        gate: Tensor | None = None,
        bias_parameters: Tensor | None = None,
        mask: Tensor | None = None,
        offsets: Tensor | None = None,
        return_lse: bool = False,
        return_position_mean: bool = False,
    ) -> Tensor | GeometryAttentionResult:
        """Attend from the tokens of each segment to each other.

        Args:
            tokens: ``[L, dim]`` packed.
            position: ``[L, 3]`` float32 or float64 metres, or int32 steps of 0.1 mm; needed
                with a bias.
            normal: ``[L, 3]`` float32, unit vectors; needed with ``NormalDot``.
            frame: ``[L, 3, 3]`` float32, rows are the axes of each token's own ``Direction``.
            gate: ``[L, num_heads]`` float32 in [0, 1], factor of the bias of each row.
            bias_parameters: ``[L, num_heads, P]`` float32, of each row its own, instead of
                ``geometry_bias.parameters_per_head``.
            mask: ``[L]`` bool, False for tokens that no token sees.
            offsets: ``[B + 1]`` int32, the segments of the tokens; None for one segment.
            return_lse: as of :func:`g2vlm_fast.ops.geometry_attention`.
            return_position_mean: also return where each row of each head looks.

        Returns:
            ``[L, dim]``, or with one of the two flags a
            :class:`~g2vlm_fast.ops.GeometryAttentionResult` whose ``out`` is that.
        """
        return self._attend(
            tokens,
            tokens,
            bias_parameters=bias_parameters,
            q_position=position,
            k_position=position,
            q_normal=normal,
            k_normal=normal,
            q_frame=frame,
            q_gate=gate,
            k_mask=mask,
            q_offsets=offsets,
            k_offsets=offsets,
            causal=self.causal,
            return_lse=return_lse,
            return_position_mean=return_position_mean,
        )


class GeometryCrossAttention(_GeometryAttention):
    """Cross-attention with a geometric bias.

    Args:
        dim: channels of the tokens, which ask.
        num_heads: query heads.
        num_kv_heads: heads of keys and values, a divisor of ``num_heads`` (grouped-query
            attention: Ainslie et al., 2023); None for ``num_heads``.
        context_dim: channels of the context, which answers; None for ``dim``.
        bias: the terms of the bias; None for plain attention.
        head_dim: channels of a head; None for ``dim // num_heads``.
        qk_norm: normalise queries and keys to unit root mean square, with a learned gain
            (Henry et al., 2020).
        dropout: probability of leaving a pair out after the softmax, in training.
        projection_bias: whether the four projections have additive biases.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        *,
        context_dim: int | None = None,
        bias: BiasSpec | None = None,
        head_dim: int | None = None,
        qk_norm: bool = False,
        dropout: float = 0.0,
        projection_bias: bool = True,
    ) -> None:
        context_dim = dim if context_dim is None else context_dim
        super().__init__(
            dim,
            context_dim,
            num_heads,
            num_kv_heads,
            bias,
            head_dim,
            qk_norm,
            dropout,
            projection_bias,
        )

    def forward(
        self,
        tokens: Tensor,
        context: Tensor,
        *,
        position: Tensor | None = None,
        context_position: Tensor | None = None,
        normal: Tensor | None = None,
        context_normal: Tensor | None = None,
        frame: Tensor | None = None,
        gate: Tensor | None = None,
        bias_parameters: Tensor | None = None,
        context_mask: Tensor | None = None,
        offsets: Tensor | None = None,
        context_offsets: Tensor | None = None,
        return_lse: bool = False,
        return_position_mean: bool = False,
    ) -> Tensor | GeometryAttentionResult:
        """Attend from the tokens of each segment to the context of the same segment.

        Args:
            tokens: ``[Lq, dim]`` packed.
            context: ``[Lk, context_dim]`` packed.
            position: ``[Lq, 3]`` or ``[Lq, num_heads, 3]`` float32 or float64 metres, or int32
                steps of 0.1 mm; needed with a bias.
            context_position: ``[Lk, 3]``, as position; needed with a bias, and for
                ``return_position_mean``.
            normal: ``[Lq, 3]`` float32, unit vectors; needed with ``NormalDot``.
            context_normal: ``[Lk, 3]`` float32, unit vectors; needed there.
            frame: ``[Lq, 3, 3]`` float32, rows are the axes of each token's own ``Direction``.
            gate: ``[Lq, num_heads]`` float32 in [0, 1], factor of the bias of each row.
            bias_parameters: ``[Lq, num_heads, P]`` float32, of each row its own, instead of
                ``geometry_bias.parameters_per_head``.
            context_mask: ``[Lk]`` bool, False for what no token sees.
            offsets: ``[B + 1]`` int32, the segments of the tokens; None for one segment.
            context_offsets: ``[B + 1]`` int32, the segments of the context.
            return_lse: as of :func:`g2vlm_fast.ops.geometry_attention`.
            return_position_mean: also return where each row of each head looks.

        Returns:
            ``[Lq, dim]``, or with one of the two flags a
            :class:`~g2vlm_fast.ops.GeometryAttentionResult` whose ``out`` is that.
        """
        return self._attend(
            tokens,
            context,
            bias_parameters=bias_parameters,
            q_position=position,
            k_position=context_position,
            q_normal=normal,
            k_normal=context_normal,
            q_frame=frame,
            q_gate=gate,
            k_mask=context_mask,
            q_offsets=offsets,
            k_offsets=context_offsets,
            return_lse=return_lse,
            return_position_mean=return_position_mean,
        )


def _normalize(norm: nn.RMSNorm | None, heads: Tensor) -> Tensor:
    """Normalise in the precision of the gain, which autocast leaves wide."""
    return heads if norm is None else norm(heads.to(norm.weight.dtype)).to(heads.dtype)
