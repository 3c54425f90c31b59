"""What each view sees of each object, and which views show a relation.

A relation is visible in a view that shows all objects that it speaks of well enough: at least
:data:`SEEN_SHARE` of the pixels of the image each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SEEN_SHARE = 0.002
"""Share of an image from which an object counts as seen: 7 pixels of 48 x 64, 154 of 240 x 320."""


def visible_pixels(instance: Tensor, count: int) -> Tensor:
    """Count the pixels of every object in every view.

    Args:
        instance: ``[V, H, W]`` int64, the object of a pixel, -1 = none.
        count: number of objects K.

    Returns:
        ``[V, K]`` int64.

    Raises:
        ValueError: an instance that is no object.
    """
    if instance.numel() and not -1 <= int(instance.min()) <= int(instance.max()) < count:
        raise ValueError(
            f"visible_pixels: instance must be -1 to {count - 1} for {count} objects, got "
            f"{int(instance.min())} to {int(instance.max())}"
        )
    rows = [torch.bincount(view.flatten() + 1, minlength=count + 1)[1:] for view in instance]
    return torch.stack(rows) if rows else torch.zeros(0, count, dtype=torch.int64)


def least_pixels(image_size: tuple[int, int]) -> int:
    """Return the pixels from which an object counts as seen in an image of (height, width)."""
    return math.ceil(SEEN_SHARE * image_size[0] * image_size[1])


def relation_views(pixels: Tensor, image_size: tuple[int, int], objects: Sequence[int]) -> Tensor:
    """Return in which views a relation between objects is visible, ``[V]`` bool.

    Args:
        pixels: ``[V, K]`` of :func:`visible_pixels`.
        image_size: (height, width) of the views.
        objects: all that the relation speaks of: two, or three of "between".
    """
    return (pixels[:, list(objects)] >= least_pixels(image_size)).all(-1)


def all_relation_views(pixels: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Return in which views every pair is visible, ``[V, K, K]`` bool, symmetric."""
    seen = pixels >= least_pixels(image_size)
    return seen[:, :, None] & seen[:, None, :]
