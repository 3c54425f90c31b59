"""Public ops. Importing this needs torch, numpy and the native module, and nothing else."""

from g2vlm_fast.ops._dispatch import BackendError, use_backend
from g2vlm_fast.ops.bias import BiasSpec, Direction, Distance, SquaredDistance
from g2vlm_fast.ops.geometry_attention import GeometryAttentionResult, geometry_attention
from g2vlm_fast.ops.nearest import nearest

__all__ = [
    "BackendError",
    "BiasSpec",
    "Direction",
    "Distance",
    "GeometryAttentionResult",
    "SquaredDistance",
    "geometry_attention",
    "nearest",
    "use_backend",
]
