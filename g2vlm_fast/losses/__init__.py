"""The seven losses, and their weighted sum."""

from g2vlm_fast.losses.alignment import alignment_loss
from g2vlm_fast.losses.geometry import depth_loss, normal_loss, surface_smoothness_loss
from g2vlm_fast.losses.matching import Matching, match_objects
from g2vlm_fast.losses.reconstruction import reconstruction_loss
from g2vlm_fast.losses.spatial import spatial_loss
from g2vlm_fast.losses.text import text_loss
from g2vlm_fast.losses.total import DEFAULT_WEIGHTS, LossReport, total_loss

__all__ = [
    "DEFAULT_WEIGHTS",
    "LossReport",
    "Matching",
    "alignment_loss",
    "depth_loss",
    "match_objects",
    "normal_loss",
    "reconstruction_loss",
    "spatial_loss",
    "surface_smoothness_loss",
    "text_loss",
    "total_loss",
]
