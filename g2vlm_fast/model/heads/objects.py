"""Seeds and objects: what the spatial head works on and what it finds."""

from __future__ import annotations

from torch import Tensor

from g2vlm_fast.records import _Record, record


@record
class Seeds(_Record):
    """What each point of one scale says: whether it is on an object, which, and where.

    In the frames of the scenes.
    """

    position: Tensor  # [M, 3] float32 metres
    objectness: Tensor  # [M] float32 logit
    vote: Tensor  # [M, 3] float32 metres: the centre of the object it is on
    class_logits: Tensor  # [M, classes] float32
    normal: Tensor  # [M, 3] float32 unit, 0 = unknown
    color: Tensor  # [M, 3] float32 in [0, 1]
    offsets: Tensor  # [B + 1] int32


@record
class Objects(_Record):
    """K objects of B scenes, in the frames of these, and what the heads need to know of them."""

    center: Tensor  # [K, 3] float32 metres
    size: Tensor  # [K, 3] float32 metres
    rotation: Tensor  # [K, 3, 3] float32, box axes to the frame
    objectness: Tensor  # [K] float32 logit
    class_logits: Tensor  # [K, classes] float32
    descriptor: Tensor  # [K, E] float32, unit norm
    feature: Tensor  # [K, dim]
    offsets: Tensor  # [B + 1] int32
