"""The Chamfer distance as a loss module."""

from __future__ import annotations

from torch import Tensor, nn

from g2vlm_fast.ops import chamfer_distance


class ChamferLoss(nn.Module):
    """Chamfer distance between predicted and true points, plus a weighted normal loss.

    Args:
        normal_weight: weight of the normal loss; ``forward`` then needs both normals.
        squared, robust, scale, one_sided, reduction: as in
            :func:`g2vlm_fast.ops.chamfer_distance`.
    """

    def __init__(
        self,
        *,
        squared: bool = True,
        robust: str | None = None,
        scale: float | None = None,
        one_sided: bool = False,
        reduction: str = "mean",
        normal_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.squared = squared
        self.robust = robust
        self.scale = scale
        self.one_sided = one_sided
        self.reduction = reduction
        self.normal_weight = normal_weight

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        *,
        x_offsets: Tensor | None = None,
        y_offsets: Tensor | None = None,
        x_weights: Tensor | None = None,
        y_weights: Tensor | None = None,
        x_normals: Tensor | None = None,
        y_normals: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of points ``x [n, D]`` against ``y [m, D]``, packed by the offsets."""
        if self.normal_weight and (x_normals is None or y_normals is None):
            missing = "x_normals" if x_normals is None else "y_normals"
            raise ValueError(f"ChamferLoss: {missing} must be given, as normal_weight is not 0")
        result = chamfer_distance(
            x,
            y,
            x_offsets=x_offsets,
            y_offsets=y_offsets,
            x_weights=x_weights,
            y_weights=y_weights,
            x_normals=x_normals if self.normal_weight else None,
            y_normals=y_normals if self.normal_weight else None,
            squared=self.squared,
            robust=self.robust,
            scale=self.scale,
            one_sided=self.one_sided,
            reduction=self.reduction,
        )
        if result.normal_loss is None:
            return result.loss
        return result.loss + self.normal_weight * result.normal_loss

    def extra_repr(self) -> str:
        options = ("squared", "robust", "scale", "one_sided", "reduction", "normal_weight")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in options)
