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

from g2vlm_fast.data.answers import CAPTION_TEMPLATES, NUMBER_WORDS, PLURALS, RELATION_SENTENCE
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.programs import Facts
from g2vlm_fast.data.scene import Query, RoomTruth, Scene
from g2vlm_fast.geometry.boxes import upright_box_gap
from g2vlm_fast.ontology import CLASSES, COLORS, DIRECTIONAL_RELATIONS, RELATIONS
from g2vlm_fast.records import Task

FRAME = "view 0"
_LANGUAGE_STREAM = 2
_CAPTION_THINGS = 4
_CLEARLY_NEARER = 0.1  # metres
_NOTHING_SHARE = 0.15  # of the direction questions, where the scene has some
_LEAST_DISTANCE = 0.05  # metres; nearer things touch, and nobody asks how far apart they are

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "caption": ("describe the room.", "what do you see?", "give a short description of this room."),
    "existence": ("is there {thing}?", "is there {thing} in the room?", "do you see {thing}?"),
    "count": ("how many {things} are there?", "how many {things} does the room have?"),
    "color": ("what color is {thing}?", "what is the color of {thing}?"),
    "direction": ("what is {relation} {thing}?", "which object is {relation} {thing}?"),
    "relation": (
        "is {thing} {relation} {other}?",
        "would you say that {thing} is {relation} {other}?",
    ),
    "distance": (
        "how far is {thing} from {other}?",
        "what is the distance between {thing} and {other}?",
    ),
    "height": ("how tall is {thing}?", "what is the height of {thing}?"),
    "width": ("how wide is {thing}?", "what is the width of {thing}?"),
    "room_size": ("how large is the room?", "what is the floor area of this room?"),
}


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
    speaker = _Speaker(scene.truth, Draws(seed, _LANGUAGE_STREAM))
    made: list[Query | None] = [speaker.statement(), speaker.caption()]
    for make, count in _PROGRAMME:
        made += [make(speaker) for _ in range(count)]
    return list(dict.fromkeys(query for query in made if query is not None))


class _Speaker:
    """Makes queries about one scene; a method returns None where there is nothing to ask."""

    def __init__(self, truth: RoomTruth, draws: Draws) -> None:
        self.truth = truth
        self.draws = draws
        self.facts = Facts(truth)
        centers, sizes, rotations = truth.boxes()
        self.centers = centers.tolist()
        boxes = (centers, sizes, rotations)
        self.gaps = upright_box_gap(boxes, boxes).tolist()

    def statement(self) -> Query:
        things = self.draws.shuffled(range(len(self.facts)))
        text = self._describe(things, sentences=2)
        return Query(text=text, task=Task.CAPTION, kind="statement", frame=FRAME, spoken=text)

    def caption(self) -> Query:
        things = self.draws.shuffled(range(len(self.facts)))[:_CAPTION_THINGS]
        answer = self._describe(things, sentences=1)
        return Query(
            text=self._template("caption"),
            task=Task.CAPTION,
            kind="caption",
            answer=answer,
            frame=FRAME,
            spoken=f"{answer} (directions seen from {FRAME})",
        )

    def phrase(self) -> Query | None:
        index = self._any_object()
        use_relation = self.draws.chance(0.5)
        description = self.facts.relational(index, self.draws) if use_relation else None
        description = description or self.facts.describe(index, self.draws)
        if description is None:
            return None
        frame = FRAME if description.is_directional else ""
        text = str(description)
        return Query(text=text, task=Task.REFERRING, kind="phrase", referred=index, frame=frame)

    def existence(self) -> Query:
        facts = self.facts
        present = self.draws.chance(0.5)
        if present:
            index = self._any_object()
            color, name = facts.colors[index], facts.classes[index]
            color = color if self.draws.chance(0.5) else ""
        else:
            color, name = self._absent()
        thing = _a(f"{color} {name}".strip())
        text = self._template("existence", thing=thing)
        spoken = f"yes, there is {thing}" if present else f"no, there is not {thing}"
        return self._question("existence", text, "yes" if present else "no", spoken)

    def _absent(self) -> tuple[str, str]:
        """A colour and class that the scene lacks; by turns a class of its own in a new colour."""
        facts = self.facts
        missing = [name for name in CLASSES if name not in facts.classes]
        if missing and self.draws.chance(0.5):
            color = self.draws.choice(tuple(COLORS)) if self.draws.chance(0.5) else ""
            return color, self.draws.choice(missing)
        name = facts.classes[self._any_object()]
        taken = {c for c, n in zip(facts.colors, facts.classes, strict=True) if n == name}
        return self.draws.choice([color for color in COLORS if color not in taken]), name

    def count(self) -> Query:
        present = self.draws.chance(0.7)
        name = self.facts.classes[self._any_object()] if present else self.draws.choice(CLASSES)
        number = self.facts.classes.count(name)
        text = self._template("count", things=PLURALS[name])
        spoken = f"{NUMBER_WORDS[number]} {name if number == 1 else PLURALS[name]}"
        return self._question("count", text, "<number>", spoken, value=float(number))

    def color(self) -> Query | None:
        index = self._any_object()
        name = self.facts.classes[index]
        description = self.facts.describe(index, self.draws)
        if self.facts.classes.count(name) > 1:
            description = self.facts.relational(index, self.draws)
        if description is None or description.color is not None:
            return None
        color = self.facts.colors[index]
        text = self._template("color", thing=description)
        frame = FRAME if description.is_directional else ""
        return self._question("color", text, color, color, referred=index, frame=frame)

    def direction(self) -> Query | None:
        """Of the questions that have one answer, "nothing" is the answer to a fixed share."""
        found: list[tuple[int, str, int | None]] = []
        for anchor in range(len(self.facts)):
            for relation in (*DIRECTIONAL_RELATIONS, "on"):
                has_answer, answer = self._nearest(relation, anchor)
                if has_answer:
                    found.append((anchor, relation, answer))
        something = [entry for entry in found if entry[2] is not None]
        nothing = [entry for entry in found if entry[2] is None]
        if nothing and (not something or self.draws.chance(_NOTHING_SHARE)):
            something = nothing
        for anchor, relation, answer in self.draws.shuffled(something):
            description = self.facts.describe(anchor, self.draws)
            if description is not None:
                text = self._template("direction", relation=relation, thing=description)
                return self._direction_answer(text, relation, answer)
        return None

    def _direction_answer(self, text: str, relation: str, answer: int | None) -> Query:
        frame = FRAME if relation in DIRECTIONAL_RELATIONS else ""
        thing = "nothing" if answer is None else _a(self._name(answer))
        word = "nothing" if answer is None else self.facts.classes[answer]
        spoken = f"{thing} (seen from {FRAME})" if frame else thing
        return self._question("direction", text, word, spoken, referred=answer, frame=frame)

    def _nearest(self, relation: str, anchor: int) -> tuple[bool, int | None]:
        """Whether "what is relation anchor?" has one answer, and the object, None = nothing."""
        labels = {
            index: self.facts.label(index, relation, anchor)
            for index in range(len(self.facts))
            if index != anchor
        }
        able = [index for index, label in labels.items() if label != 0]
        if not able:
            return True, None
        able.sort(key=lambda index: _distance(self.centers[index], self.centers[anchor]))
        if labels[able[0]] != 1:
            return False, None
        first, *others = (_distance(self.centers[i], self.centers[anchor]) for i in able)
        return not others or others[0] - first >= _CLEARLY_NEARER, able[0]

    def relation(self) -> Query | None:
        """Choose the predicate first, then whether it holds, so that neither tells the answer."""
        by_relation: dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}
        count = len(self.facts)
        for relation in RELATIONS:
            pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
            fails = [pair for pair in pairs if self.facts.label(pair[0], relation, pair[1]) == 0]
            holds = [pair for pair in pairs if self.facts.label(pair[0], relation, pair[1]) == 1]
            if fails and holds:
                by_relation[relation] = (fails, holds)
        if not by_relation:
            return None
        relation = self.draws.choice(list(by_relation))
        truth = self.draws.integer(0, 1)
        for subject, anchor in self.draws.shuffled(by_relation[relation][truth]):
            thing = self.facts.describe(subject, self.draws, simple=True)
            other = self.facts.describe(anchor, self.draws, simple=True)
            if thing is not None and other is not None:
                frame = FRAME if relation in DIRECTIONAL_RELATIONS else ""
                text = self._template("relation", thing=thing, relation=relation, other=other)
                spoken = f"{'yes' if truth else 'no'}, {thing} is {'' if truth else 'not '}"
                spoken += f"{relation} {other}" + (f" (seen from {frame})" if frame else "")
                return self._question(
                    "relation",
                    text,
                    "yes" if truth else "no",
                    spoken,
                    referred=subject,
                    frame=frame,
                )
        return None

    def distance(self) -> Query | None:
        subject, anchor = self._any_object(), self._any_object()
        thing = self.facts.describe(subject, self.draws, simple=True)
        other = self.facts.describe(anchor, self.draws, simple=True)
        gap = self.gaps[subject][anchor]
        if thing is None or other is None or subject == anchor or gap < _LEAST_DISTANCE:
            return None
        text = self._template("distance", thing=thing, other=other)
        spoken = f"{gap:.2f} m between the closest points of the boxes of {thing} and {other}"
        return self._question("distance", text, "<number>", spoken, value=gap, referred=subject)

    def height(self) -> Query | None:
        return self._extent("height", lambda size: size[2])

    def width(self) -> Query | None:
        return self._extent("width", lambda size: max(size[0], size[1]))

    def _extent(self, kind: str, measure: Callable[[list[float]], float]) -> Query | None:
        index = self._any_object()
        description = self.facts.describe(index, self.draws)
        if description is None:
            return None
        value = measure(self.truth.objects[index].size.tolist())
        text = self._template(kind, thing=description)
        frame = FRAME if description.is_directional else ""
        return self._question(
            kind, text, "<number>", f"{value:.2f} m", value=value, referred=index, frame=frame
        )

    def room_size(self) -> Query:
        area = float(self.truth.room_size[0] * self.truth.room_size[1])
        text = self._template("room_size")
        return self._question(
            "room_size", text, "<number>", f"{area:.1f} square metres", value=area
        )

    def _question(
        self,
        kind: str,
        text: str,
        answer: str,
        spoken: str,
        *,
        value: float | None = None,
        referred: int | None = None,
        frame: str = "",
    ) -> Query:
        return Query(
            text=text,
            task=Task.QUESTION,
            kind=kind,
            answer=answer,
            value=value,
            referred=referred,
            frame=frame,
            spoken=spoken,
        )

    def _template(self, kind: str, **parts: object) -> str:
        return self.draws.choice(_TEMPLATES[kind]).format(**parts)

    def _any_object(self) -> int:
        return self.draws.integer(0, len(self.facts) - 1)

    def _name(self, index: int) -> str:
        return f"{self.facts.colors[index]} {self.facts.classes[index]}"

    def _describe(self, things: list[int], sentences: int) -> str:
        """A sentence that lists things, then some that relate two of them."""
        names = [self._name(index) for index in things]
        counted = []
        for name in dict.fromkeys(names):
            number = names.count(name)
            color, kind = name.split()
            several = f"{NUMBER_WORDS[number]} {color} {PLURALS[kind]}"
            counted.append(_a(name) if number == 1 else several)
        listed = ", ".join(counted[:-1]) + (" and " if len(counted) > 1 else "") + counted[-1]
        text = self.draws.choice(CAPTION_TEMPLATES).format(things=listed)
        return " ".join([text, *self._relation_sentences(things, sentences)])

    def _relation_sentences(self, things: list[int], count: int) -> list[str]:
        pairs = [(i, j) for i in things for j in things if i != j]
        sentences: list[str] = []
        for subject, anchor in self.draws.shuffled(pairs):
            held = [r for r in RELATIONS if self.facts.label(subject, r, anchor) == 1]
            thing = self.facts.describe(subject, self.draws, simple=True)
            other = self.facts.describe(anchor, self.draws, simple=True)
            plain = all(d is not None and d.superlative is None for d in (thing, other))
            if held and plain and len(sentences) < count:
                relation = "on" if "on" in held else self.draws.choice(held)
                sentences.append(
                    RELATION_SENTENCE.format(subject=thing, relation=relation, object=other)
                )
        return sentences


_PROGRAMME: tuple[tuple[Callable[[_Speaker], Query | None], int], ...] = (
    (_Speaker.phrase, 4),
    (_Speaker.existence, 2),
    (_Speaker.count, 1),
    (_Speaker.color, 2),
    (_Speaker.direction, 3),
    (_Speaker.relation, 4),
    (_Speaker.distance, 2),
    (_Speaker.height, 1),
    (_Speaker.width, 1),
    (_Speaker.room_size, 1),
)


def _a(name: str) -> str:
    return f"a {name}"


def _distance(first: list[float], second: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5
