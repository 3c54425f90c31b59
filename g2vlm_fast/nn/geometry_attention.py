"""Multi-head attention between packed tokens that stand somewhere."""

from __future__ import annotations

from torch import Tensor, nn

from g2vlm_fast.nn.geometry_bias import GeometryBias
from g2vlm_fast.ops.bias import BiasSpec
from g2vlm_fast.ops.geometry_attention import GeometryAttentionResult, geometry_attention


class GeometryAttention(nn.Module):
    """Self- or cross-attention with a geometric bias: projections around the op.

    Args:
        dim: channels of the queries and of the output.
        num_heads: query heads.
        num_kv_heads: heads of keys and values, a divisor of ``num_heads`` (grouped-query
            attention: Ainslie et al., 2023); None for ``num_heads``.
        bias: the terms of the bias; None for plain attention.
        head_dim: channels of a head; None for ``dim // num_heads``.
        context_dim: channels of the context; None for ``dim``.
        qk_norm: normalise queries and keys to unit root mean square, with a learned gain
            (Henry et al., 2020).
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
        context_dim: int | None = None,
        qk_norm: bool = False,
        causal: bool = False,
        projection_bias: bool = True,
    ) -> None:
        super().__init__()
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if num_heads < 1 or num_kv_heads < 1 or num_heads % num_kv_heads:
            raise ValueError(
                "GeometryAttention: num_heads must be a multiple of num_kv_heads, got "
                f"{num_heads} and {num_kv_heads}"
            )
        if head_dim is None:
            if dim % num_heads:
                raise ValueError(
                    f"GeometryAttention: dim {dim} is not a multiple of num_heads {num_heads}; "
                    "pass head_dim"
                )
            head_dim = dim // num_heads
        context_dim = dim if context_dim is None else context_dim
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim
        self.causal = causal
        self.query = nn.Linear(dim, num_heads * head_dim, bias=projection_bias)
        self.key = nn.Linear(context_dim, num_kv_heads * head_dim, bias=projection_bias)
        self.value = nn.Linear(context_dim, num_kv_heads * head_dim, bias=projection_bias)
        self.output = nn.Linear(num_heads * head_dim, dim, bias=projection_bias)
        self.query_norm = nn.RMSNorm(head_dim) if qk_norm else None
        self.key_norm = nn.RMSNorm(head_dim) if qk_norm else None
        self.geometry_bias = None if bias is None else GeometryBias(bias, num_heads)

    def forward(
        self,
        tokens: Tensor,
        context: Tensor | None = None,
        *,
        position: Tensor | None = None,
        context_position: Tensor | None = None,
        gate: Tensor | None = None,
        offsets: Tensor | None = None,
        context_offsets: Tensor | None = None,
    ) -> Tensor:
        """Attend from ``tokens`` to ``context`` (to ``tokens`` themselves where it is None).

        Args:
            tokens: ``[Lq, dim]`` packed.
            context: ``[Lk, context_dim]`` packed; None for self-attention.
            position: ``[Lq, 3]`` or ``[Lq, num_heads, 3]`` float32, metres; needed with a bias.
            context_position: ``[Lk, 3]`` float32; None for ``position`` in self-attention.
            gate: ``[Lq, num_heads]`` float32 in [0, 1], factor of the bias of each row.
            offsets: ``[B + 1]`` int32, the segments of the tokens.
            context_offsets: ``[B + 1]`` int32; None for ``offsets`` in self-attention.

        Returns:
            ``[Lq, dim]``.
        """
        return self.attend(
            tokens,
            context,
            position=position,
            context_position=context_position,
            gate=gate,
            offsets=offsets,
            context_offsets=context_offsets,
        ).out

    def attend(
        self,
        tokens: Tensor,
        context: Tensor | None = None,
        *,
        position: Tensor | None = None,
        context_position: Tensor | None = None,
        gate: Tensor | None = None,
        offsets: Tensor | None = None,
        context_offsets: Tensor | None = None,
        return_position_mean: bool = False,
    ) -> GeometryAttentionResult:
        """Do what :meth:`forward` does and say where each row of each head looks.

        Returns:
            ``out [Lq, dim]``, ``lse [Lq, num_heads]``, and with ``return_position_mean`` the
            ``position_mean [Lq, num_heads, 3]`` and ``position_spread [Lq, num_heads]`` of
            :func:`g2vlm_fast.ops.geometry_attention`, for which ``context_position`` is needed.
        """
        if context is None:
            context = tokens
            if context_position is None:
                context_position = position
            if context_offsets is None:
                context_offsets = offsets
        value = self.value(context).unflatten(-1, (self.num_kv_heads, self.head_dim))
        query = self.query(tokens).unflatten(-1, (self.num_heads, self.head_dim))
        key = self.key(context).unflatten(-1, (self.num_kv_heads, self.head_dim))
        result = geometry_attention(
            _normalize(self.query_norm, query),
            _normalize(self.key_norm, key),
            value,
            bias=self.geometry_bias.spec if self.geometry_bias is not None else None,
            bias_parameters=(
                self.geometry_bias.parameters_per_head if self.geometry_bias is not None else None
            ),
            q_position=position,
            k_position=context_position,
            q_gate=gate,
            q_offsets=offsets,
            k_offsets=context_offsets,
            causal=self.causal,
            return_lse=True,
            return_position_mean=return_position_mean,
        )
        assert isinstance(result, GeometryAttentionResult)
        return result._replace(out=self.output(result.out.flatten(1)))


def _normalize(norm: nn.RMSNorm | None, heads: Tensor) -> Tensor:
    """Normalise in the precision of the gain, which autocast leaves wide."""
    return heads if norm is None else norm(heads.to(norm.weight.dtype)).to(heads.dtype)
