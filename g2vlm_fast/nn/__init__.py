"""``torch.nn`` modules around the ops."""

from g2vlm_fast.nn.geometry_attention import GeometryAttention
from g2vlm_fast.nn.geometry_bias import GeometryBias

__all__ = ["GeometryAttention", "GeometryBias"]
