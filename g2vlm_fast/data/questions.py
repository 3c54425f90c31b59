"""Phrases and questions about objects; a function returns None where there is nothing to ask."""

from __future__ import annotations

from collections.abc import Callable

from g2vlm_fast.data.answers import NUMBER_WORDS, PLURALS
from g2vlm_fast.data.scene import Query
from g2vlm_fast.data.speaker import FRAME, Speaker, with_article
from g2vlm_fast.ontology import CLASSES, COLORS, DIRECTIONAL_RELATIONS, SIMPLE_RELATIONS
from g2vlm_fast.records import Task

_CLEARLY_NEARER = 0.1  # metres
_NOTHING_SHARE = 0.15  # of the direction questions, where the scene has some
_LEAST_DISTANCE = 0.05  # metres; nearer things touch, and nobody asks how far apart they are


def phrase(speaker: Speaker) -> Query | None:
    """Refer to an object, half of the time by its relation to another one."""
    index = speaker.any_object()
    use_relation = speaker.draws.chance(0.5)
    description = speaker.facts.relational(index, speaker.draws) if use_relation else None
    description = description or speaker.facts.describe(index, speaker.draws)
    if description is None:
        return None
    frame = FRAME if description.is_directional else ""
    text = str(description)
    return Query(text=text, task=Task.REFERRING, kind="phrase", referred=index, frame=frame)


def existence(speaker: Speaker) -> Query:
    """Ask whether something is there, as often with "yes" as with "no" for an answer."""
    facts = speaker.facts
    present = speaker.draws.chance(0.5)
    if present:
        index = speaker.any_object()
        color, name = facts.colors[index], facts.classes[index]
        color = color if speaker.draws.chance(0.5) else ""
    else:
        color, name = _absent(speaker)
    thing = with_article(f"{color} {name}".strip())
    text = speaker.template("existence", thing=thing)
    spoken = f"yes, there is {thing}" if present else f"no, there is not {thing}"
    return _question("existence", text, "yes" if present else "no", spoken)


def _absent(speaker: Speaker) -> tuple[str, str]:
    """What the scene lacks: by turns a class, and one of its classes in a new colour.

    So a question with a colour is as often answered "no" as one without.
    """
    facts = speaker.facts
    missing = [name for name in CLASSES if name not in facts.classes]
    if missing and speaker.draws.chance(0.5):
        return "", speaker.draws.choice(missing)
    name = facts.classes[speaker.any_object()]
    taken = {c for c, n in zip(facts.colors, facts.classes, strict=True) if n == name}
    return speaker.draws.choice([color for color in COLORS if color not in taken]), name


def count(speaker: Speaker) -> Query:
    """Ask how many objects of a class there are, sometimes none."""
    present = speaker.draws.chance(0.7)
    name = speaker.facts.classes[speaker.any_object()] if present else speaker.draws.choice(CLASSES)
    number = speaker.facts.classes.count(name)
    text = speaker.template("count", things=PLURALS[name])
    spoken = f"{NUMBER_WORDS[number]} {name if number == 1 else PLURALS[name]}"
    return _question("count", text, "<number>", spoken, value=float(number))


def color(speaker: Speaker) -> Query | None:
    """Ask the colour of an object that can be told from others without it."""
    index = speaker.any_object()
    name = speaker.facts.classes[index]
    description = speaker.facts.describe(index, speaker.draws)
    if speaker.facts.classes.count(name) > 1:
        description = speaker.facts.relational(index, speaker.draws)
    if description is None or description.color is not None:
        return None
    color = speaker.facts.colors[index]
    text = speaker.template("color", thing=description)
    frame = FRAME if description.is_directional else ""
    return _question("color", text, color, color, referred=index, frame=frame)


def direction(speaker: Speaker) -> Query | None:
    """Ask what is in a direction of an object, or on it; a fixed share of answers is "nothing"."""
    found: list[tuple[int, str, int | None]] = []
    for anchor in range(len(speaker.facts)):
        for relation in (*DIRECTIONAL_RELATIONS, "on"):
            has_answer, answer = _nearest(speaker, relation, anchor)
            if has_answer:
                found.append((anchor, relation, answer))
    something = [entry for entry in found if entry[2] is not None]
    nothing = [entry for entry in found if entry[2] is None]
    if nothing and (not something or speaker.draws.chance(_NOTHING_SHARE)):
        something = nothing
    for anchor, relation, answer in speaker.draws.shuffled(something):
        description = speaker.facts.describe(anchor, speaker.draws)
        if description is not None:
            text = speaker.template("direction", relation=relation, thing=description)
            return _direction_answer(speaker, text, relation, answer)
    return None


def _direction_answer(speaker: Speaker, text: str, relation: str, answer: int | None) -> Query:
    frame = FRAME if relation in DIRECTIONAL_RELATIONS else ""
    thing = "nothing" if answer is None else with_article(speaker.name(answer))
    word = "nothing" if answer is None else speaker.facts.classes[answer]
    spoken = f"{thing} (seen from {FRAME})" if frame else thing
    return _question("direction", text, word, spoken, referred=answer, frame=frame)


def _nearest(speaker: Speaker, relation: str, anchor: int) -> tuple[bool, int | None]:
    """Whether "what is relation anchor?" has one answer, and the object, None = nothing."""
    labels = {
        index: speaker.facts.label(index, relation, anchor)
        for index in range(len(speaker.facts))
        if index != anchor
    }
    able = [index for index, label in labels.items() if label != 0]
    if not able:
        return True, None
    able.sort(key=lambda index: _distance(speaker.centers[index], speaker.centers[anchor]))
    if labels[able[0]] != 1:
        return False, None
    first, *others = (_distance(speaker.centers[i], speaker.centers[anchor]) for i in able)
    return not others or others[0] - first >= _CLEARLY_NEARER, able[0]


def relation(speaker: Speaker) -> Query | None:
    """Ask whether a relation holds.

    The predicate is chosen first, then whether it holds, so that neither tells the answer.
    """
    by_relation: dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}
    count = len(speaker.facts)
    for relation in SIMPLE_RELATIONS:
        pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
        fails = [pair for pair in pairs if speaker.facts.label(pair[0], relation, pair[1]) == 0]
        holds = [pair for pair in pairs if speaker.facts.label(pair[0], relation, pair[1]) == 1]
        if fails and holds:
            by_relation[relation] = (fails, holds)
    if not by_relation:
        return None
    relation = speaker.draws.choice(list(by_relation))
    truth = speaker.draws.integer(0, 1)
    for subject, anchor in speaker.draws.shuffled(by_relation[relation][truth]):
        thing = speaker.facts.describe(subject, speaker.draws, simple=True)
        other = speaker.facts.describe(anchor, speaker.draws, simple=True)
        if thing is not None and other is not None:
            frame = FRAME if relation in DIRECTIONAL_RELATIONS else ""
            text = speaker.template("relation", thing=thing, relation=relation, other=other)
            spoken = f"{'yes' if truth else 'no'}, {thing} is {'' if truth else 'not '}"
            spoken += f"{relation} {other}" + (f" (seen from {frame})" if frame else "")
            return _question(
                "relation",
                text,
                "yes" if truth else "no",
                spoken,
                referred=subject,
                frame=frame,
            )
    return None


def distance(speaker: Speaker) -> Query | None:
    """Ask how far apart the closest points of two boxes are."""
    subject, anchor = speaker.any_object(), speaker.any_object()
    thing = speaker.facts.describe(subject, speaker.draws, simple=True)
    other = speaker.facts.describe(anchor, speaker.draws, simple=True)
    gap = speaker.gaps[subject][anchor]
    if thing is None or other is None or subject == anchor or gap < _LEAST_DISTANCE:
        return None
    text = speaker.template("distance", thing=thing, other=other)
    spoken = f"{gap:.2f} m between the closest points of the boxes of {thing} and {other}"
    return _question("distance", text, "<number>", spoken, value=gap, referred=subject)


def height(speaker: Speaker) -> Query | None:
    """Ask how tall an object is."""
    return _extent(speaker, "height", lambda size: size[2])


def width(speaker: Speaker) -> Query | None:
    """Ask how long the longer horizontal side of an object is."""
    return _extent(speaker, "width", lambda size: max(size[0], size[1]))


def _extent(speaker: Speaker, kind: str, measure: Callable[[list[float]], float]) -> Query | None:
    index = speaker.any_object()
    description = speaker.facts.describe(index, speaker.draws)
    if description is None:
        return None
    value = measure(speaker.truth.objects[index].size.tolist())
    text = speaker.template(kind, thing=description)
    frame = FRAME if description.is_directional else ""
    return _question(
        kind, text, "<number>", f"{value:.2f} m", value=value, referred=index, frame=frame
    )


def room_size(speaker: Speaker) -> Query:
    """Ask for the area of the floor."""
    area = float(speaker.truth.room_size[0] * speaker.truth.room_size[1])
    text = speaker.template("room_size")
    return _question("room_size", text, "<number>", f"{area:.1f} square metres", value=area)


def _question(
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


def _distance(first: list[float], second: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5
