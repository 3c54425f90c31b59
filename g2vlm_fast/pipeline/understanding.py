"""What the model says of a scene: objects, relations, captions and grounded answers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.data import AnswerVocabulary, Query, Scene, collate
from g2vlm_fast.data.language.answers import PLURALS, split_words
from g2vlm_fast.data.transform import scene_of_views
from g2vlm_fast.export.scene_graph import SceneObject, SceneRelation, boxes_in_views, frame_of
from g2vlm_fast.model import G2VLM, Encoded
from g2vlm_fast.records import Prediction, SceneBatch, Task

CAPTION_REQUEST = "describe the room."
_LEAST_SCORE = 0.5


@dataclass(frozen=True)
class Grounding:
    """An object that words stand for."""

    object_id: int
    score: float  # in [0, 1], share of the objects' softmax

    def to_json(self) -> dict[str, Any]:
        return {"object": self.object_id, "score": round(self.score, 4)}


@dataclass(frozen=True)
class Answer:
    """A question, what the model says, and which object it means."""

    question: str
    text: str
    value: float | None  # of <number>, if the answer holds one
    grounding: Grounding | None
    views: list[dict[str, Any]]  # where the object is in the images
    truth: str | None = None  # where the scene is generated and the question is one of its own


@dataclass(frozen=True)
class Caption:
    """A description, with the objects that its nouns stand for."""

    text: str
    phrases: list[tuple[str, list[int]]]  # noun, ids of objects of that class


@dataclass(frozen=True)
class Understanding:
    """Everything the model says of one scene."""

    scene: Scene  # the views that the model was shown, at full size
    view_numbers: list[int]  # which views of the whole scan these are
    batch: SceneBatch
    encoded: Encoded
    objects: list[SceneObject]
    relations: list[SceneRelation]
    caption: Caption
    answers: list[Answer]


def pick_views(scene: Scene, count: int) -> list[int]:
    """The first view, which directions are meant from, and others evenly spread after it."""
    last = scene.num_views - 1
    return sorted({round(last * i / max(count - 1, 1)) for i in range(min(count, last + 1))})


@torch.no_grad()
def understand(
    model: G2VLM,
    scene: Scene,
    views: Sequence[int],
    image_size: tuple[int, int],
    questions: Sequence[Query],
) -> Understanding:
    """Show some views of a scene to the model, and ask it.

    Args:
        model: trained.
        scene: upright, its floor at z = 0.
        views: which of its views the model sees; directions are meant from the first.
        image_size: (height, width) that the model was trained on.
        questions: texts; a known ``spoken`` or ``answer`` is passed on as the truth.
    """
    shown = scene_of_views(scene, views)
    caption_query = Query(text=CAPTION_REQUEST, task=Task.CAPTION)
    asked = [dataclasses.replace(q, referred=None) for q in questions]
    vocabulary = AnswerVocabulary(model.config.answer_vocabulary)
    batch, _ = collate(
        [shown],
        [[caption_query, *asked]],
        image_size=image_size,
        tokenize=model.tokenizer(),
        answer_vocabulary=vocabulary,
    )
    encoded = model.encode(batch)
    prediction = model.answer(batch, encoded)
    objects, rows = _objects(model, prediction)
    texts = [
        _answer_text(prediction, vocabulary, row, whole=_counts(query.text))
        for row, query in enumerate([caption_query, *asked])
    ]
    answers = []
    for number, (query, (text, value)) in enumerate(zip(questions, texts[1:], strict=True), 1):
        grounding = _grounding(prediction, number, rows)
        found = [thing for thing in objects if grounding and thing.id == grounding.object_id]
        places = [
            {**place, "view": views[place["view"]]}
            for thing in found
            for place in boxes_in_views(thing, shown.intrinsics, shown.poses, shown.image_size)
        ]
        answers.append(Answer(query.text, text, value, grounding, places, _truth(query)))
    return Understanding(
        shown,
        list(views),
        batch,
        encoded,
        objects,
        _relations(model, prediction, rows),
        _caption(texts[0][0], objects),
        answers,
    )


def _need(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise RuntimeError(f"the model returned no {name}")
    return value


def _objects(model: G2VLM, prediction: Prediction) -> tuple[list[SceneObject], list[int]]:
    """Detections above one half, best first, and their rows in the prediction."""
    score = torch.sigmoid(_need(prediction.objectness, "objectness"))
    classes = torch.softmax(_need(prediction.class_logits, "class_logits"), dim=-1)
    order = score.argsort(descending=True)
    rows = [int(row) for row in order if float(score[row]) >= _LEAST_SCORE]
    center = _need(prediction.box_center, "box_center")
    size = _need(prediction.box_size, "box_size")
    rotation = _need(prediction.box_rotation, "box_rotation")
    descriptor = _need(prediction.descriptor, "descriptor")
    names = list(model.config.classes)
    objects = [
        SceneObject(
            id=number,
            class_name=names[int(classes[row].argmax())],
            score=float(score[row]),
            class_score=float(classes[row].max()),
            center=center[row].float().numpy(),
            size=size[row].float().numpy(),
            rotation=rotation[row].float().numpy(),
            descriptor=descriptor[row].float().numpy(),
        )
        for number, row in enumerate(rows)
    ]
    return objects, rows


def _relations(model: G2VLM, prediction: Prediction, rows: list[int]) -> list[SceneRelation]:
    number_of = {row: number for number, row in enumerate(rows)}
    probability = torch.sigmoid(_need(prediction.relation_logits, "relation_logits"))
    pairs = _need(prediction.relation_pairs, "relation_pairs").tolist()
    names = list(model.config.relations)
    return [
        SceneRelation(number_of[a], number_of[b], name, score, frame_of(name))
        for (a, b), scores in zip(pairs, probability.tolist(), strict=True)
        if a in number_of and b in number_of
        for name, score in zip(names, scores, strict=True)
        if score >= _LEAST_SCORE
    ]


def _grounding(prediction: Prediction, text: int, rows: list[int]) -> Grounding | None:
    if not rows:
        return None
    offsets = _need(prediction.grounding_offsets, "grounding_offsets")
    logits = _need(prediction.grounding_logits, "grounding_logits")
    scores = torch.softmax(logits[int(offsets[text]) : int(offsets[text + 1])][rows].float(), 0)
    best = int(scores.argmax())
    return Grounding(best, float(scores[best]))


def _counts(question: str) -> bool:
    """Whether the answer to a question is a whole number."""
    return "how many" in question.lower()


def _answer_text(
    prediction: Prediction, vocabulary: AnswerVocabulary, text: int, *, whole: bool
) -> tuple[str, float | None]:
    offsets = _need(prediction.answer_offsets, "answer_offsets")
    ids = _need(prediction.answer_ids, "answer_ids")
    said = ids[int(offsets[text]) : int(offsets[text + 1])].tolist()
    number = float(_need(prediction.answer_value, "answer_value")[text])
    value = number if "<number>" in vocabulary.decode(said) and math.isfinite(number) else None
    if whole and value is not None:
        value = float(max(round(value), 0))
    return vocabulary.decode(said, value), value


def _truth(query: Query) -> str | None:
    if query.spoken:
        return query.spoken
    if query.value is not None:
        return f"{query.value:.2f}"
    return query.answer


def _caption(text: str, objects: list[SceneObject]) -> Caption:
    """Link every noun of a caption that names a class with the objects of that class."""
    singular = {plural: name for name, plural in PLURALS.items()} | {n: n for n in PLURALS}
    nouns = _nouns(split_words(text), singular)
    return Caption(
        text,
        [
            (noun, [thing.id for thing in objects if thing.class_name == singular[noun]])
            for noun in dict.fromkeys(nouns)
        ],
    )


def _nouns(words: Sequence[str], known: Collection[str]) -> list[str]:
    """The known nouns of a text in its order; of two that begin at one word the longer."""
    found = []
    longest = max(len(noun.split()) for noun in known)
    place = 0
    while place < len(words):
        spans = (" ".join(words[place : place + size]) for size in range(longest, 0, -1))
        noun = next((span for span in spans if span in known), None)
        if noun is not None:
            found.append(noun)
        place += len(noun.split()) if noun is not None else 1
    return found
