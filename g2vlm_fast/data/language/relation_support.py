"""What stands on what and what is in what: "on" and "in" of :mod:`.relations`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from g2vlm_fast.data.language.relation_geometry import Pairs, decided, share_of_box_inside

_CONTACT, _NO_CONTACT = 0.02, 0.06  # metres between bottom and top
_SUPPORTED, _UNSUPPORTED = 0.5, 0.2  # share of the footprint
_INSIDE, _OUTSIDE = 0.8, 0.3  # share of the box
_ROOMIER = 1.3  # ratio of volumes


def support_labels(
    pairs: Pairs,
    containers: Sequence[bool] | None,
    supports: Sequence[int | None] | None,
    inside: Sequence[bool] | None,
) -> dict[str, Tensor]:
    """Label "on" and "in" of all ordered pairs, ``[K, K]`` int8 each.

    The arguments are those of :func:`g2vlm_fast.data.language.relations.relation_labels`.

    Raises:
        ValueError: an object that is inside of nothing.
    """
    gap = (pairs.bottom[:, None] - pairs.top[None]).abs()
    share = pairs.footprint_share
    rests = (gap <= _CONTACT) & (share >= _SUPPORTED) & (pairs.displacement[..., 2] > 0)
    on = decided(rests, (gap >= _NO_CONTACT) | (share <= _UNSUPPORTED))
    boxed = share_of_box_inside(pairs)
    volume = pairs.size.prod(-1)
    holds = (boxed >= _INSIDE) & (volume[None] >= _ROOMIER * volume[:, None])
    within = decided(holds, boxed <= _OUTSIDE)
    if containers is None:
        within = within.masked_fill(within == 1, -1)
    else:
        within = within.masked_fill(~torch.tensor(list(containers), dtype=torch.bool)[None], 0)
    if supports is None:
        if inside is not None and any(inside):
            raise ValueError("relation_labels: inside says what is in its support: give supports")
        return {"on": on, "in": within}
    stands, contained = _known_support(supports, inside or [False] * pairs.count)
    on = on.masked_fill(on == 1, -1).masked_fill(contained, 0)
    within = within.masked_fill(within == 1, -1)
    return {"on": on.masked_fill(stands, 1), "in": within.masked_fill(contained, 1)}


def _known_support(supports: Sequence[int | None], inside: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Which object stands on which, and is in which, at however many removes: ``[K, K]`` bool."""
    count = len(supports)
    stands, contained = (torch.zeros(count, count, dtype=torch.bool) for _ in range(2))
    for index in range(count):
        if inside[index] and supports[index] is None:
            raise ValueError(f"relation_labels: object {index} is inside, but nothing carries it")
        held, support = index, supports[index]
        while support is not None:
            if inside[held]:
                contained[index, support] = True
            elif held == index:
                stands[index, support] = True
            held, support = support, supports[support]
    return stands, contained
