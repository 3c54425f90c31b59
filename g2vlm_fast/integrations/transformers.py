"""Geometry for Hugging Face models: the attention implementation ``"geometry"``.

Importing this module registers it with transformers, attention and masks. Without geometry it is
transformers' own sdpa, to the bit; see :class:`GeometryAdapter` for how to give it some.
"""

from __future__ import annotations

from transformers import AttentionInterface, AttentionMaskInterface

from g2vlm_fast.integrations._transformers_adapter import GeometryAdapter
from g2vlm_fast.integrations._transformers_attention import geometry_attention_forward
from g2vlm_fast.integrations._transformers_geometry import Geometry, use_geometry
from g2vlm_fast.integrations._transformers_mask import geometry_mask

__all__ = [
    "Geometry",
    "GeometryAdapter",
    "geometry_attention_forward",
    "geometry_mask",
    "use_geometry",
]

# Without the mask, causal models would see the future, and nobody would say so.
AttentionInterface.register("geometry", geometry_attention_forward)
AttentionMaskInterface.register("geometry", geometry_mask)
