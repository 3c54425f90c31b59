"""What is said and asked about a scene, with answers that its truth proves.

==========================  ==========  =======================================================
kind                        task        text and answer
==========================  ==========  =======================================================
statement                   CAPTION     the text is a true description of the scene; no answer.
                                        For matching texts with scenes
caption                     CAPTION     the text asks for a description; the answer is one
description                 CAPTION     a longer statement
situated_description        CAPTION     a statement of what is on each side of a place
phrase, object_caption      REFERRING   a phrase, or sentences, that single one object out
existence                   QUESTION    yes / no
count, situated_count       QUESTION    ``<number>``
color, situated_color       QUESTION    a colour
direction                   QUESTION    what is left of, right of, in front of, behind, on, in ...
                                        something: a class, or "nothing"
between, situated_what      QUESTION    a class
relation, view_relation,    QUESTION    yes / no: in the frame of view 0, of another view, of
own_relation, situated_is               an object that has a front, of somebody who stands there
count_comparison,           QUESTION    yes / no
count_equality,
height_comparison, nearer,
situated_reach
extreme,                    QUESTION    a class, of two to four that the question names
relative_distance,
situated_which,
situated_other
relative_direction_...,     QUESTION    left, right, in front, behind; front left, ...
situated_turn
route                       QUESTION    two turns: "left, back"
appearance_order            QUESTION    three classes in the order in which views show them
distance,                   QUESTION    ``<number>``, metres between the closest points of two
situated_distance                       boxes; metres over the floor
height, width               QUESTION    ``<number>``, metres; the width is the longer
                                        horizontal side
room_size                   QUESTION    ``<number>``, square metres of floor
==========================  ==========  =======================================================

"What is left of X?" has one answer: the object that is left of X; of several the nearest, by the
closest points of the boxes, if it is nearer by 0.15 m than the next; "nothing" if no object is.
It is not asked where an undecided object could change the answer. Every answer is what
``Query.program`` gives (:mod:`g2vlm_fast.data.language.execution`). Directions are meant from
view 0 unless the text names another frame, which ``Query.frame`` says.

Sources: CLEVR (Johnson et al., CVPR 2017) for questions as programs; SQA3D (Ma et al., ICLR 2023)
for situations; VSI-Bench (Yang et al., CVPR 2025) for its tasks; ReferIt3D (Achlioptas et al.,
ECCV 2020) and ScanRefer (Chen et al., ECCV 2020) for references.
"""

from __future__ import annotations

from collections.abc import Sequence

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.language import captions
from g2vlm_fast.data.language.lexicon import Style
from g2vlm_fast.data.language.questions import QUESTIONS, SIMPLE_QUESTIONS, Ask
from g2vlm_fast.data.language.speaker import Speaker
from g2vlm_fast.data.scene import Query, Scene

_LANGUAGE_STREAM = 2

_MORE_TEXTS: dict[str, tuple[Ask, int]] = {
    "description": (captions.description, 1),
    "object_caption": (captions.object_caption, 2),
    "situated_description": (captions.situated_description, 1),
}
_TEXTS = QUESTIONS | _MORE_TEXTS

SIMPLE_KINDS: tuple[str, ...] = tuple(SIMPLE_QUESTIONS)
"""The kinds that a tiny model learns in minutes."""

KINDS: tuple[str, ...] = tuple(_TEXTS)
"""Every kind of text but the statement and the caption, which always are there."""


def queries(
    scene: Scene, seed: int, *, kinds: Sequence[str] = SIMPLE_KINDS, style: Style = "simple"
) -> list[Query]:
    """Make texts about a scene: one statement, one caption, then phrases and questions.

    Args:
        scene: a scene with truth.
        seed: 0 or larger; another seed gives other words and other questions.
        kinds: which kinds of texts besides; some of :data:`KINDS`.
        style: whose words: "simple" for the plainest, which keep to what simple rooms need;
            "training" for many wordings; "held out" for wordings that "training" never uses.

    Returns:
        About twenty queries of the simple kinds, fifty of all; fewer where the scene has too
        little to ask about. The statement is the first, the caption the second.

    Raises:
        ValueError: the scene has no truth or no objects; an unknown kind or style.
    """
    if scene.truth is None or not scene.truth.objects:
        raise ValueError(
            f"queries: scene {scene.name!r} has no truth with objects; texts with true answers "
            "can only be made of scenes that have one, such as generated rooms"
        )
    unknown = [kind for kind in kinds if kind not in _TEXTS]
    if unknown:
        raise ValueError(f"queries: kinds must be some of {list(KINDS)}, got {unknown}")
    speaker = Speaker(scene, scene.truth, Draws(seed, _LANGUAGE_STREAM), style)
    made: list[Query | None] = [captions.statement(speaker), captions.caption(speaker)]
    for kind in kinds:
        make, count = _TEXTS[kind]
        made += [make(speaker) for _ in range(count)]
    return list(dict.fromkeys(query for query in made if query is not None))
