"""Pooling over voxels as a layer."""

from __future__ import annotations

from torch import Tensor, nn

from g2vlm_fast.ops import Clusters, pool, voxel_clusters


class VoxelPool(nn.Module):
    """Pool features of packed points over the voxels of a grid; see :func:`voxel_clusters`.

    Args:
        size: edge of a voxel, metres.
        reduce: ``"mean"``, ``"max"``, ``"min"`` or ``"sum"``.
    """

    def __init__(self, size: float, reduce: str = "mean") -> None:
        super().__init__()
        self.size = size
        self.reduce = reduce

    def forward(
        self, x: Tensor, position: Tensor, offsets: Tensor | None = None
    ) -> tuple[Tensor, Clusters]:
        """Return features ``[M, C]`` of ``x [N, C]``, and the clusters, for the way back."""
        clusters = voxel_clusters(position, self.size, offsets)
        return pool(x, clusters, self.reduce), clusters

    def extra_repr(self) -> str:
        return f"size={self.size}, reduce={self.reduce!r}"
