"""Masks of Hugging Face models, and what they let each token see."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    sdpa_mask,
)


class Visible(NamedTuple):
    """What the tokens of a padded batch see."""

    causal: bool  # the last query sees all keys, the one before all but one, ...
    keys: Tensor | None  # [B, Lk] bool, the keys that are no padding; None for all


def geometry_mask(**arguments: Any) -> Tensor | None:
    """Build the mask that sdpa would get, and note on it what it was built from.

    Source: the contract of ``transformers.AttentionMaskInterface``; ``arguments`` are those of
    ``transformers.masking_utils.sdpa_mask``.
    """
    mask: Tensor | None = sdpa_mask(**arguments)
    rule, padding = arguments["mask_function"], arguments["attention_mask"]
    last_query = arguments["q_offset"] + arguments["q_length"]
    to_the_end = arguments["kv_offset"] == 0 and last_query == arguments["kv_length"]
    causal = rule is causal_mask_function and to_the_end
    known = causal or rule is bidirectional_mask_function
    if padding is not None:
        known = known and padding.shape[-1] == arguments["kv_length"]
    if mask is not None and known:
        mask.visible = Visible(causal, padding)  # type: ignore[attr-defined]
    return mask


def what_is_visible(
    module: nn.Module,
    mask: Tensor | None,
    query: Tensor,
    key: Tensor,
    is_causal: bool | None,
) -> Visible:
    """Return what a mask of sdpa lets ``query [B, H, Lq, D]`` see of ``key [B, H, Lk, D]``.

    Raises:
        NotImplementedError: more than causality and padding.
    """
    rows, columns = query.shape[2], key.shape[2]
    if mask is None:
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        if not (causal and rows > 1):
            return Visible(causal=False, keys=None)
        if rows == columns:
            return Visible(causal=True, keys=None)
        raise NotImplementedError(
            f"geometry attention: causal attention of {rows} queries to {columns} keys comes "
            "without a mask; use a dynamic cache, or pass attention_mask"
        )
    visible: Visible | None = getattr(mask, "visible", None)
    if visible is not None:
        return visible
    if mask.dtype == torch.bool and mask.dim() == 4 and mask.shape[1:3] == (1, 1):
        return Visible(causal=False, keys=mask[:, 0, 0].expand(query.shape[0], -1))
    raise NotImplementedError(
        f"geometry attention: the mask {list(mask.shape)} of {mask.dtype} may be more than "
        "causality and padding; pass attention_mask [B, L] (1 for tokens, 0 for padding), or "
        "leave this layer out of the adapter"
    )
