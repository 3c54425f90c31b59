"""What training rooms never show: variants of furniture, and facts about classes.

Both are fixed by hashes of names, so that they are the same for everyone. A fact is (class,
relation, class), for example (plant, left of, sofa); it is realised where its label is 1 for some
pair of objects of a room. Directions are meant from view 0, and ``left of`` stands for
``right of`` the other way round, as ``in front of`` does for ``behind``. Rooms for training are
laid out without held-out things on or in things, and the subject of any other held-out fact that
view 0 shows is taken out of the room.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from torch import Tensor

from g2vlm_fast.data.rooms.config import Held
from g2vlm_fast.data.rooms.furniture import VARIANTS, mount_of
from g2vlm_fast.ontology import CLASSES, RELATIONS

Fact = tuple[str, str, str]

_SHARE_OF_DIRECTIONS = 250  # one in so many facts of direction is held out
_SHARE_OF_SUPPORTS = 12

_COMMON = (
    "bin", "lamp", "plant", "cabinet", "table", "shelf", "box", "chair", "sofa", "book", "mirror",
    "desk", "sink", "bed", "counter", "television", "nightstand", "stool", "rug", "vase", "cup",
    "armchair", "basket", "dresser",
)  # fmt: skip
"""Classes that are frequent enough for a held-out fact about two of them to come up in a test."""

_TOGETHER = frozenset(
    frozenset(pair)
    for pair in (
        ("cabinet", "sofa"), ("chair", "table"), ("chair", "desk"), ("nightstand", "bed"),
        ("sofa", "table"), ("sofa", "rug"), ("armchair", "sofa"), ("television", "cabinet"),
    )
)  # fmt: skip
"""Classes that belong together: rooms without facts about them would not be believed."""


def _hash(*names: str) -> int:
    digest = hashlib.sha256("/".join(("g2vlm-fast held out", *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _held_out_variant(class_name: str) -> frozenset[str]:
    """One variant of a class, if another one of the same mount is left for training."""
    names = VARIANTS[class_name]
    mounts = [mount_of(class_name, name) for name in names]
    spare = [n for n, mount in zip(names, mounts, strict=True) if mounts.count(mount) > 1]
    return frozenset([min(spare, key=lambda name: _hash(class_name, name))] if spare else [])


HELD_OUT_VARIANTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {class_name: _held_out_variant(class_name) for class_name in VARIANTS}
)
"""The variants of every class that training rooms never show: one, or none where all are needed."""

HELD_OUT_FACTS: frozenset[Fact] = frozenset(
    (subject, relation, other)
    for relation, classes, share in (
        ("left of", _COMMON, _SHARE_OF_DIRECTIONS),
        ("in front of", _COMMON, _SHARE_OF_DIRECTIONS),
        ("on", CLASSES, _SHARE_OF_SUPPORTS),
        ("in", CLASSES, _SHARE_OF_SUPPORTS),
    )
    for subject in classes
    for other in classes
    if _hash(subject, relation, other) % share == 0
    and (relation in ("on", "in") or frozenset((subject, other)) not in _TOGETHER)
)
"""The facts that training rooms never realise."""


@cache
def drawable_variants(class_name: str, which: Held) -> tuple[str, ...]:
    """Return the variants of a class that rooms may show.

    ``"unseen"`` gives the held-out ones, and of every mount (floor, wall, ...) that has none all.
    """
    held_out = HELD_OUT_VARIANTS[class_name]
    names = VARIANTS[class_name]
    if which == "seen":
        return tuple(name for name in names if name not in held_out)
    if which == "unseen":
        replaced = {mount_of(class_name, name) for name in held_out}
        return tuple(
            name for name in names if name in held_out or mount_of(class_name, name) not in replaced
        )
    return names


def held_out_facts(class_names: Sequence[str], relations: Tensor) -> dict[Fact, set[int]]:
    """Return the held-out facts that a room realises, and the objects that are their subjects.

    Args:
        class_names: of its K objects.
        relations: ``[K, K, R]`` labels of ``ontology.RELATIONS``, 1 where a relation holds.
    """
    found: dict[Fact, set[int]] = {}
    for relation in ("left of", "in front of", "on", "in"):
        holds = relations[..., RELATIONS.index(relation)] == 1
        for subject, other in holds.nonzero().tolist():
            fact = (class_names[subject], relation, class_names[other])
            if fact in HELD_OUT_FACTS:
                found.setdefault(fact, set()).add(subject)
    return found
