"""The attention function of Hugging Face models."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from g2vlm_fast.integrations._transformers_adapter import LayerBias
from g2vlm_fast.integrations._transformers_geometry import Geometry, current_geometry
from g2vlm_fast.integrations._transformers_mask import Visible, what_is_visible
from g2vlm_fast.ops import GeometryAttentionResult, geometry_attention

_LEAVE_OUT = "leave this layer out of the adapter"
_REFUSED = {
    "sliding_window": f"switch it off in the config, or {_LEAVE_OUT}",
    "softcap": _LEAVE_OUT,
    "position_bias": _LEAVE_OUT,
    "cache": "generate without a paged cache",
    "cu_seq_lens_q": "pass a padded batch with attention_mask",
    "cu_seq_lens_k": "pass a padded batch with attention_mask",
}


def geometry_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    geometry: Geometry | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend as sdpa does, plus the layer's bias between tokens that stand somewhere.

    Without geometry, in layers that the adapter leaves out, and where all queries were generated
    (they stand nowhere), this is transformers' sdpa to the bit.

    Args:
        module: the attention module that calls.
        query: ``[B, H, Lq, D]``.
        key: ``[B, Hkv, Lk, D]``.
        value: ``[B, Hkv, Lk, D]``.
        attention_mask: of :func:`~g2vlm_fast.integrations._transformers_mask.geometry_mask`.
        dropout: probability of dropping a weight.
        scaling: factor of ``q . k``; None for ``1 / sqrt(D)``.
        is_causal: None for what the module says.
        geometry: None for that of :func:`use_geometry`.
        kwargs: what else models pass on.

    Returns:
        ``[B, Lq, H, D]`` and None.

    Raises:
        NotImplementedError: something that cannot be honoured beside geometry.
        RuntimeError: no adapter reached this module.
        ValueError: a geometry that is not of these tokens.
    """
    if kwargs.get("s_aux") is not None:  # which sdpa would ignore
        raise NotImplementedError(
            "geometry attention: attention sinks (s_aux) are not honoured, with or without "
            'geometry; use the attention implementation "eager"'
        )
    geometry = current_geometry() if geometry is None else geometry
    bias = None if geometry is None else _bias_of(module)
    if geometry is None or bias is None or _all_generated(geometry, query, key):
        if bias is not None:
            bias.note()
        out, _ = sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=is_causal,
            **kwargs,
        )
        return out, None
    for name, remedy in _REFUSED.items():
        if kwargs.get(name) is not None:
            raise NotImplementedError(f"geometry attention: {name} is not honoured; {remedy}")
    _check(geometry, query, key, value)
    visible = what_is_visible(module, attention_mask, query, key, is_causal)
    out = _attend(query, key, value, geometry, bias, visible, scaling, float(dropout))
    return out.unflatten(0, (query.shape[0], query.shape[2])), None


def _bias_of(module: nn.Module) -> LayerBias | None:
    if not hasattr(module, "geometry_bias"):
        raise RuntimeError(
            f"geometry attention: {type(module).__name__} belongs to no adapter; create "
            "GeometryAdapter(model, spec) of the whole model, with part= for the layers that "
            "have a bias"
        )
    return cast(LayerBias | None, module.geometry_bias)


def _all_generated(geometry: Geometry, query: Tensor, key: Tensor) -> bool:
    """Return whether all queries come after the tokens that geometry knows.

    Raises:
        ValueError: geometry knows as many tokens as there are queries, and is rather theirs.
    """
    tokens, rows, columns = geometry.position.shape[1], query.shape[2], key.shape[2]
    if not (rows < columns and tokens <= columns - rows):
        return False
    if tokens == rows > 1:
        raise ValueError(
            f"geometry attention: geometry is of {tokens} tokens, as many as are new, and "
            f"attention has {columns} keys; give those in the cache their positions as well"
        )
    return True


def _check(geometry: Geometry, query: Tensor, key: Tensor, value: Tensor) -> None:
    batch, tokens = geometry.position.shape[:2]
    if batch != query.shape[0]:
        raise ValueError(
            f"geometry attention: geometry is of {batch} rows and the batch has "
            f"{query.shape[0]}; for beams and samples, pass geometry.repeat_interleave(n)"
        )
    if tokens != key.shape[2]:
        raise ValueError(
            f"geometry attention: geometry is of {tokens} tokens and attention has "
            f"{key.shape[2]} keys; give every token a position, special tokens included "
            "(placed=False for those that stand nowhere), and generate with a cache and without "
            "an assistant model"
        )
    if geometry.position.device != query.device:
        raise ValueError(
            f"geometry attention: geometry is on {geometry.position.device} and the model on "
            f"{query.device}; pass geometry.to(device)"
        )
    if value.shape[-1] != query.shape[-1]:
        raise NotImplementedError(
            f"geometry attention: values of {value.shape[-1]} channels for queries of "
            f"{query.shape[-1]} are not honoured; {_LEAVE_OUT}"
        )


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    geometry: Geometry,
    bias: LayerBias,
    visible: Visible,
    scale: float | None,
    dropout: float,
) -> Tensor:
    """Attend between packed tokens, ``[B * Lq, H, D]``; nothing is read back to the host.

    Rows stay as long as they are: padding is masked, not taken out. Keys that stand nowhere are
    attended to without a bias, and both parts are joined by their log-sum-exp.
    """
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    common: dict[str, Any] = {
        "q_offsets": _offsets(query),
        "k_offsets": _offsets(key),
        "causal": visible.causal,
        "scale": scale,
        "dropout": dropout,
    }
    if dropout:  # both parts draw the same pairs
        common["dropout_seed"] = torch.randint(2**62, (1,), device=query.device)
    if geometry.placed is None:
        biased = _bias_arguments(geometry, bias, query, visible.keys)
        mask = None if visible.keys is None else visible.keys.flatten()
        return cast(Tensor, geometry_attention(q, k, v, k_mask=mask, **common, **biased))
    placed, unplaced = geometry.placed, ~geometry.placed
    if visible.keys is not None:
        placed, unplaced = placed & visible.keys, unplaced & visible.keys
    common["return_lse"] = True
    biased = _bias_arguments(geometry, bias, query, placed)
    there = geometry_attention(q, k, v, k_mask=placed.flatten(), **common, **biased)
    nowhere = geometry_attention(q, k, v, k_mask=unplaced.flatten(), **common)
    return _join(cast(GeometryAttentionResult, there), cast(GeometryAttentionResult, nowhere))


def _bias_arguments(
    geometry: Geometry, bias: LayerBias, query: Tensor, placed: Tensor | None
) -> dict[str, Any]:
    """Return what the op takes for the bias; ``placed [B, Lk]``, None for all."""
    heads, rows = query.shape[1:3]
    wide = torch.promote_types(query.dtype, torch.float32)

    def packed(field: Tensor | None, last: int, dtype: torch.dtype = wide) -> Tensor | None:
        return None if field is None else field[:, -last:].to(dtype).flatten(0, 1)

    exact = torch.promote_types(wide, geometry.position.dtype)  # the op takes differences first
    columns = geometry.position.shape[1]
    gate = packed(placed, rows)
    return {
        "bias": bias.spec,
        "bias_parameters": bias(),
        "q_position": packed(geometry.position, rows, exact),
        "k_position": packed(geometry.position, columns, exact),
        "q_normal": packed(geometry.normal, rows),
        "k_normal": packed(geometry.normal, columns),
        "q_frame": packed(geometry.frame, rows),
        "q_gate": None if gate is None else gate[:, None].repeat(1, heads),
    }


def _offsets(tokens: Tensor) -> Tensor:
    batch, _, length, _ = tokens.shape
    return torch.arange(batch + 1, device=tokens.device, dtype=torch.int32) * length


def _join(first: GeometryAttentionResult, second: GeometryAttentionResult) -> Tensor:
    """Join attention to two disjoint sets of keys; rows that see neither have 0."""
    assert first.lse is not None
    assert second.lse is not None
    lse = torch.stack([first.lse, second.lse])
    blind = (lse == -torch.inf).all(0)
    weight = lse.masked_fill(blind, 0).softmax(0)[..., None]
    out = weight[0] * first.out + weight[1] * second.out
    return out.to(first.out.dtype)
