"""Questions about rooms, by kind; a function returns None where there is nothing to ask."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from g2vlm_fast.data.language.questions import (
    attributes,
    comparisons,
    relations,
    situated,
    standpoints,
)
from g2vlm_fast.data.language.speaker import Speaker
from g2vlm_fast.data.scene import Query

Ask = Callable[[Speaker], Query | None]

SIMPLE_QUESTIONS: dict[str, tuple[Ask, int]] = {
    "phrase": (attributes.phrase, 4),
    "existence": (attributes.existence, 2),
    "count": (attributes.count, 1),
    "color": (attributes.color, 2),
    "direction": (relations.direction, 3),
    "relation": (relations.relation, 4),
    "distance": (relations.distance, 2),
    "height": (attributes.height, 1),
    "width": (attributes.width, 1),
    "room_size": (attributes.room_size, 1),
}
"""What a tiny model learns to answer, and how often each is tried of a room."""

QUESTIONS: dict[str, tuple[Ask, int]] = {
    **SIMPLE_QUESTIONS,
    "view_relation": (relations.view_relation, 1),
    "own_relation": (relations.own_relation, 1),
    "between": (relations.between, 1),
    "count_comparison": (comparisons.count_comparison, 1),
    "count_equality": (comparisons.count_equality, 1),
    "extreme": (comparisons.extreme, 1),
    "height_comparison": (comparisons.height_comparison, 1),
    "relative_distance": (comparisons.relative_distance, 1),
    "nearer": (comparisons.nearer, 1),
    "appearance_order": (comparisons.appearance_order, 1),
    **{
        kind: (partial(standpoints.relative_direction, kind=kind), 1)
        for kind in (
            "relative_direction_easy",
            "relative_direction_medium",
            "relative_direction_hard",
        )
    },
    "route": (standpoints.route, 1),
    **{
        kind: (partial(situated.situated, kind=kind), 1)
        for kind in (
            "situated_what",
            "situated_color",
            "situated_is",
            "situated_count",
            "situated_distance",
            "situated_reach",
            "situated_which",
            "situated_turn",
            "situated_other",
        )
    },
}
"""Every kind of text about objects, and how often each is tried of a room."""
