"""What is said and asked about a scene, with answers that its truth proves.

=============  ==========  ====================================================================
kind           task        text and answer
=============  ==========  ====================================================================
statement      CAPTION     the text is a true description of the scene; no answer. For matching
                           texts with scenes
caption        CAPTION     the text asks for a description; the answer is one
phrase         REFERRING   a phrase that singles one object out; no answer
existence      QUESTION    yes / no, equally often
count          QUESTION    ``<number>``
color          QUESTION    a colour
direction      QUESTION    what is left of, right of, in front of, behind or on something: a
                           class, or "nothing"
relation       QUESTION    yes / no, equally often for every predicate
distance       QUESTION    ``<number>``, metres between the closest points of the two boxes
height, width  QUESTION    ``<number>``, metres; the width is the longer horizontal side
room_size      QUESTION    ``<number>``, square metres of floor
=============  ==========  ====================================================================

"What is left of X?" has one answer: the object that is left of X; of several the one whose
centre is nearest to the centre of X, if it is nearer by 0.1 m than the next; "nothing" if no
object is. It is not asked where an undecided object could change the answer. Directions are
meant from view 0, which ``Query.frame`` and the spoken answer say.
"""

from __future__ import annotations

from collections.abc import Callable

from g2vlm_fast.data import captions, questions
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.scene import Query, Scene
from g2vlm_fast.data.speaker import Speaker

_LANGUAGE_STREAM = 2


def queries(scene: Scene, seed: int) -> list[Query]:
    """Make texts about a scene: one statement, one caption, phrases, and every kind of question.

    Args:
        scene: a scene with truth.
        seed: 0 or larger; another seed gives other words and other questions.

    Returns:
        About twenty queries; fewer where the scene has too little to ask about. The statement
        is the first, the caption the second.

    Raises:
        ValueError: the scene has no truth or no objects.
    """
    if scene.truth is None or not scene.truth.objects:
        raise ValueError(
            f"queries: scene {scene.name!r} has no truth with objects; texts with true answers "
            "can only be made of scenes that have one, such as generated rooms"
        )
    speaker = Speaker(scene.truth, Draws(seed, _LANGUAGE_STREAM))
    made: list[Query | None] = [captions.statement(speaker), captions.caption(speaker)]
    for make, count in _PROGRAMME:
        made += [make(speaker) for _ in range(count)]
    return list(dict.fromkeys(query for query in made if query is not None))


_PROGRAMME: tuple[tuple[Callable[[Speaker], Query | None], int], ...] = (
    (questions.phrase, 4),
    (questions.existence, 2),
    (questions.count, 1),
    (questions.color, 2),
    (questions.direction, 3),
    (questions.relation, 4),
    (questions.distance, 2),
    (questions.height, 1),
    (questions.width, 1),
    (questions.room_size, 1),
)
