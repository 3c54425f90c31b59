"""Spatial relations between objects, decided from their boxes with a margin.

Every ordered pair gets a label for every predicate: 1 holds, 0 does not, -1 undecided, where
the geometry is so close to a boundary that people would differ. Undecided labels are never
trained on, asked about or scored. Nothing stands in a relation to itself (its labels are -1).

Of directions there are three frames. In the frame of a view (:func:`relation_labels` takes the
first of the scene) ``left of`` is towards the left of the levelled image and ``in front of`` is
towards the camera. In the own frame of an object that has a front (:func:`own_direction_labels`)
both are meant as by somebody who sits in it and looks ahead. The frame of a stated standpoint is
:mod:`g2vlm_fast.data.language.situations`.

With the displacement (x to the right, y ahead) from object to subject, between box centres;
top and bottom of boxes, s of the subject and o of the object; volumes v:

============  ======================================  =========================================
predicate     holds (1)                               does not hold (0)
============  ======================================  =========================================
left of       x <= -0.30 m and ``|x| >= 1.2 |y|``     x >= -0.20 m or ``|x| <= |y| / 1.2``
right of      mirrored                                mirrored
in front of   the same along y, see the frames        the same along y
behind        mirrored                                mirrored
on            bottom s within 0.02 m of top o, at     bottom s 0.06 m or more from top o, or at
              least half of the footprint of s above  most a fifth of the footprint above o
              o, and the centre of s is the higher
near          closest points within 0.50 m            closest points 0.80 m apart or more
in            o is a container, 0.8 of the box of s   o is no container, or at most 0.3 of the
              is in the box of o, v(o) >= 1.3 v(s)    box of s is in the box of o
above         bottom s - top o >= 0.06 m, and the     bottom s <= top o, or they share at most
              footprints, both grown by 0.10 m,       0.1 of it
              share 0.3 of the smaller one
below         o is above s                            o is not above s
higher than   top and centre of s 0.10 m above those  top and centre of s at most 0.03 m above
              of o, or more                           those of o
lower than    o is higher than s                      o is not higher than s
bigger than   v(s) >= 1.3 v(o)                        v(s) <= 1.05 v(o)
smaller than  o is bigger than s                      o is not bigger than s
facing        s has a front, and rays from its        s has no front, or all of o is 30 degrees
              centre 5 degrees to both sides of       or more off the front direction of s
              ahead meet the footprint of o, or its
              centre is within 10 degrees of ahead
aligned with  both are oblong or have a front, and    they differ by 15 degrees or more
              their yaws, modulo a quarter turn,
              differ by at most 5 degrees
============  ======================================  =========================================

Oblong is a footprint whose sides are as 1.2 to 1 or more; of other objects "aligned with" is
undecided. Where it is known what carries what, and whether on it or in it, that decides: a thing
is on what it stands on, and in what has it inside, or has inside what carries it (a book in a box
is in the cabinet that the box is in; so is a cup on that box). Of every other pair boxes alone
make neither hold: where they would, it is undecided. So a book on the board of a shelf, whose box
reaches up to the next board and round the book, is on the shelf, and undecided is whether in it.

``left of`` and ``right of``, ``in front of`` and ``behind``, ``above`` and ``below``, ``higher``
and ``lower``, ``bigger`` and ``smaller`` are inverse; ``near`` and ``aligned with`` are
symmetric; ``higher``, ``lower``, ``bigger`` and ``smaller`` are transitive. The margins start
from those of Sr3D (Achlioptas et al., "ReferIt3D", ECCV 2020): support by contact, 0.06 m for
above and below, a gap between near and far, and cones of directions with nothing decided between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from g2vlm_fast.data.language.relation_geometry import (
    Pairs,
    angle_off_ahead,
    decided,
    meets_ray,
    share_of_grown_footprints,
    yaw_difference,
)
from g2vlm_fast.data.language.relation_support import support_labels
from g2vlm_fast.geometry.boxes import upright_box_gap
from g2vlm_fast.geometry.cameras import horizontal_axes
from g2vlm_fast.ontology import DIRECTIONAL_RELATIONS, RELATIONS

_HOLDS_FROM, _FAILS_BELOW = 0.30, 0.20  # metres along the direction
_DOMINANCE = 1.2  # ratio of the displacement along the direction to the one across it
_NEAR, _FAR = 0.50, 0.80  # metres between closest points
_ABOVE = 0.06  # metres between top and bottom
_GROWTH = 0.10  # metres that footprints are grown by before one is above another
_OVERHEAD, _BESIDE = 0.3, 0.1  # share of the smaller grown footprint
_HIGHER, _NOT_HIGHER = 0.10, 0.03  # metres
_BIGGER, _NOT_BIGGER = 1.3, 1.05  # ratio of volumes
_RAY_SPREAD, _AHEAD, _ASIDE = 5.0, 10.0, 30.0  # degrees
_PARALLEL, _CROOKED = 5.0, 15.0  # degrees
_OBLONG = 1.2  # ratio of the sides of a footprint
_LEAST_SPAN = 0.8  # metres between the two things that a third is between


def relation_labels(
    center: Tensor,
    size: Tensor,
    rotation: Tensor,
    view_pose: Tensor,
    gravity: Tensor,
    *,
    has_front: Sequence[bool] | None = None,
    containers: Sequence[bool] | None = None,
    supports: Sequence[int | None] | None = None,
    inside: Sequence[bool] | None = None,
) -> Tensor:
    """Label all ordered pairs of objects.

    Args:
        center: ``[K, 3]`` metres.
        size: ``[K, 3]`` metres, full extents.
        rotation: ``[K, 3, 3]``, box axes to world; upright.
        view_pose: ``[4, 4]`` camera to world, the view that directions are meant from.
        gravity: ``[3]`` unit vector that points down.
        has_front: of every object whether it has a front, which faces along its negative y
            axis; None = not known, and "facing" is undecided.
        containers: of every object whether things can be in it; None = not known, and "in" is
            undecided for every box that reaches into another.
        supports: of every object which one carries it, None for the floor; None = not known,
            and "on" and "in" follow from the boxes alone.
        inside: of every object whether it is in what carries it, not on it; None = none is.

    Returns:
        ``[K, K, R]`` int8 for (subject, object, predicate of ``ontology.RELATIONS``).

    Raises:
        ValueError: boxes that are not upright, facts of another number of objects, or objects
            that are inside of nothing.
    """
    count = len(center)
    for name, facts in (
        ("has_front", has_front), ("containers", containers), ("supports", supports),
        ("inside", inside),
    ):  # fmt: skip
        if facts is not None and len(facts) != count:
            raise ValueError(
                f"relation_labels: {name} must speak of each of the {count} objects, "
                f"got {len(facts)}"
            )
    pairs = Pairs(center.double(), size.double(), rotation.double())
    by_name = {
        **_view_directions(pairs.center, view_pose, gravity),
        **support_labels(pairs, containers, supports, inside),
        "near": _near(pairs),
        "facing": _facing(pairs, has_front),
        "aligned with": _aligned(pairs, has_front),
        **_with_inverse("above", "below", _above(pairs)),
        **_with_inverse("higher than", "lower than", _higher(pairs)),
        **_with_inverse("bigger than", "smaller than", _bigger(pairs)),
    }
    labels = torch.stack([by_name[name] for name in RELATIONS], dim=-1)
    return labels.masked_fill(torch.eye(count, dtype=torch.bool)[..., None], -1)


def view_direction_labels(center: Tensor, view_pose: Tensor, gravity: Tensor) -> Tensor:
    """Label directions in the frame of a view.

    Args:
        center: ``[K, 3]`` metres.
        view_pose: ``[4, 4]`` camera to world.
        gravity: ``[3]`` unit vector that points down.

    Returns:
        ``[K, K, 4]`` int8 for (subject, object, predicate of ``DIRECTIONAL_RELATIONS``).
    """
    by_name = _view_directions(center.double(), view_pose, gravity)
    labels = torch.stack([by_name[name] for name in DIRECTIONAL_RELATIONS], dim=-1)
    return labels.masked_fill(torch.eye(len(center), dtype=torch.bool)[..., None], -1)


def own_direction_labels(center: Tensor, rotation: Tensor, has_front: Sequence[bool]) -> Tensor:
    """Label directions in the own frame of every object that has a front.

    Args:
        center: ``[K, 3]`` metres.
        rotation: ``[K, 3, 3]``, box axes to world; fronts face along the negative y axis.
        has_front: of every object whether it has one.

    Returns:
        ``[K, K, 4]`` int8 for (subject, object, predicate of ``DIRECTIONAL_RELATIONS``), as
        somebody who sits in the object would say it; -1 for objects without a front.
    """
    displacement = (center[:, None] - center[None]).double()
    local = (rotation.double()[None] * displacement[..., None]).sum(-2)
    by_name = _directions(right=-local[..., 0], towards_front=-local[..., 1])
    labels = torch.stack([by_name[name] for name in DIRECTIONAL_RELATIONS], dim=-1)
    fronted = torch.tensor(list(has_front), dtype=torch.bool)
    meant = fronted[None] & ~torch.eye(len(center), dtype=torch.bool)
    return labels.masked_fill(~meant[..., None], -1)


def between_labels(center: Tensor, size: Tensor) -> Tensor:
    """Label all triples of objects for "subject is between first and second".

    Let L be the horizontal distance between the centres of the two, t the share of it at which
    the centre of the subject projects onto their connection and d its distance from that. It
    holds if L >= 0.8 m, 0.25 <= t <= 0.75, d <= 0.15 L, and the subject shares 0.10 m of height
    with the range from the lowest bottom to the highest top of the two. It does not hold if t is
    outside 0.1 to 0.9, d >= 0.35 L, or no height is shared.

    Args:
        center: ``[K, 3]`` metres.
        size: ``[K, 3]`` metres, full extents; boxes are upright.

    Returns:
        ``[K, K, K]`` int8 for (subject, first, second), symmetric in first and second; -1 where
        two of the three are one.
    """
    ground, count = center[:, :2].double(), len(center)
    along = ground[None] - ground[:, None]
    length = along.norm(dim=-1)
    offset = ground[:, None, None] - ground[None, :, None]
    safe = length.clamp_min(1e-9)
    share = (offset * along).sum(-1) / safe.square()
    aside = (offset[..., 0] * along[..., 1] - offset[..., 1] * along[..., 0]).abs() / safe
    bottom = center[:, 2].double() - size[:, 2].double() / 2
    top = bottom + size[:, 2].double()
    low = torch.minimum(bottom[:, None], bottom[None])
    high = torch.maximum(top[:, None], top[None])
    shared = torch.minimum(top[:, None, None], high) - torch.maximum(bottom[:, None, None], low)
    middle = (share - 0.5).abs()
    holds = (length >= _LEAST_SPAN) & (middle <= 0.25) & (aside <= 0.15 * length)
    fails = (middle >= 0.4) | (aside >= 0.35 * length) | (shared <= 0)
    same = torch.eye(count, dtype=torch.bool)
    same = same[:, :, None] | same[:, None, :] | same[None]
    return decided(holds & (shared >= 0.10), fails).masked_fill(same, -1)


def _with_inverse(name: str, inverse: str, labels: Tensor) -> dict[str, Tensor]:
    return {name: labels, inverse: labels.mT}


def _view_directions(center: Tensor, view_pose: Tensor, gravity: Tensor) -> dict[str, Tensor]:
    right, forward = horizontal_axes(view_pose.double(), gravity.double())
    displacement = center[:, None] - center[None]
    return _directions(
        right=(displacement * right).sum(-1), towards_front=-(displacement * forward).sum(-1)
    )


def _directions(right: Tensor, towards_front: Tensor) -> dict[str, Tensor]:
    return {
        "left of": _directed(-right, towards_front),
        "right of": _directed(right, towards_front),
        "in front of": _directed(towards_front, right),
        "behind": _directed(-towards_front, right),
    }


def _directed(along: Tensor, across: Tensor) -> Tensor:
    holds = (along >= _HOLDS_FROM) & (along >= _DOMINANCE * across.abs())
    fails = (along <= _FAILS_BELOW) | (along <= across.abs() / _DOMINANCE)
    return decided(holds, fails)


def _near(pairs: Pairs) -> Tensor:
    gap = upright_box_gap(pairs.boxes, pairs.boxes)
    return decided(gap <= _NEAR, gap >= _FAR)


def _above(pairs: Pairs) -> Tensor:
    gap = pairs.bottom[:, None] - pairs.top[None]
    share = share_of_grown_footprints(pairs, _GROWTH)
    return decided((gap >= _ABOVE) & (share >= _OVERHEAD), (gap <= 0) | (share <= _BESIDE))


def _higher(pairs: Pairs) -> Tensor:
    top = pairs.top[:, None] - pairs.top[None]
    middle = pairs.displacement[..., 2]
    return decided(
        (top >= _HIGHER) & (middle >= _HIGHER), (top <= _NOT_HIGHER) & (middle <= _NOT_HIGHER)
    )


def _bigger(pairs: Pairs) -> Tensor:
    volume = pairs.size.prod(-1)
    subject, other = volume[:, None], volume[None]
    return decided(subject >= _BIGGER * other, subject <= _NOT_BIGGER * other)


def _facing(pairs: Pairs, has_front: Sequence[bool] | None) -> Tensor:
    if has_front is None:
        return torch.full((pairs.count, pairs.count), -1, dtype=torch.int8)
    spread = math.radians(_RAY_SPREAD)
    met = meets_ray(pairs, -spread) & meets_ray(pairs, spread)
    central, nearest = angle_off_ahead(pairs)
    ahead = met | (central <= math.radians(_AHEAD))
    aside = (nearest >= math.radians(_ASIDE)) & ~meets_ray(pairs, 0.0)
    fronted = torch.tensor(list(has_front), dtype=torch.bool)[:, None]
    return decided(ahead & fronted, aside | ~fronted)


def _aligned(pairs: Pairs, has_front: Sequence[bool] | None) -> Tensor:
    sides = pairs.size[:, :2]
    turned = sides.amax(-1) >= _OBLONG * sides.amin(-1)
    if has_front is not None:
        turned = turned | torch.tensor(list(has_front), dtype=torch.bool)
    both = turned[:, None] & turned[None]
    angle = yaw_difference(pairs)
    return decided(
        both & (angle <= math.radians(_PARALLEL)), both & (angle >= math.radians(_CROOKED))
    )
