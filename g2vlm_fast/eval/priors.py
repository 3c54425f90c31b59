"""What can be guessed without looking: the chance levels of every head.

A chance level here is not a coin toss but the best that a guesser can do who knows how the
training rooms are made and has not seen this one: the majority answer of a kind of question,
the number that is most often close enough, the relation that usually holds between two classes,
the furniture of another room. Such guesses beat uniform ones, so a head that is better than
chance by this measure has used its input.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.metrics.language import token_f1, within_tolerance

Array = NDArray[np.float64]
SMOOTHING = 1.0  # pseudo-observations a (class, class) pair takes from the mean over all pairs


@dataclass(frozen=True)
class Objects:
    """Objects of one room: upright boxes ``[K]`` and class indices ``[K]``."""

    boxes: Boxes
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Answer:
    """A question of a kind with its true answer; ``value`` where that is a number."""

    kind: str
    text: str
    value: float | None = None


@dataclass(frozen=True)
class RoomFacts:
    """What a room teaches a guesser."""

    objects: Objects
    relations: NDArray[np.int8]  # [K, K, R]: 1 holds, 0 does not, -1 undecided
    answers: Sequence[Answer]
    captions: Sequence[str]
    depths: Array  # metres, a sample of true depths
    normals: Array  # [n, 3], a sample of true normals
    hidden_distances: Array  # metres, truncated distances at hidden points


@dataclass(frozen=True)
class Priors:
    """Guesses fitted to training rooms."""

    rooms: Sequence[Objects]  # furniture to transplant
    majority_class: int
    relation_rate: Array  # [C, C, R], how often a predicate holds between two classes
    relation_threshold: float  # asserting above it gives the best F1 on the training rooms
    answers: dict[str, str]  # by kind
    any_answer: str
    numbers: dict[str, float]  # by kind
    any_number: float
    caption: str
    depth: float
    normal: Array
    hidden_distance: float

    @classmethod
    def fit(cls, rooms: Iterable[RoomFacts], *, num_classes: int, num_relations: int) -> Priors:
        """Learn the guesses from training rooms.

        Raises:
            ValueError: there is no room, or no object in any of them.
        """
        facts = list(rooms)
        classes = [int(c) for room in facts for c in room.objects.classes]
        if not classes:
            raise ValueError("Priors.fit: expected training rooms with objects, got none")
        rate = relation_rate(facts, num_classes, num_relations)
        texts, values = _answers_by_kind(facts)
        normals = np.concatenate([room.normals for room in facts])
        return cls(
            rooms=[room.objects for room in facts if len(room.objects)],
            majority_class=Counter(classes).most_common(1)[0][0],
            relation_rate=rate,
            relation_threshold=best_relation_threshold(facts, rate),
            answers={kind: _majority(answers) for kind, answers in texts.items()},
            any_answer=_majority([text for answers in texts.values() for text in answers]),
            numbers={kind: _best_constant(numbers) for kind, numbers in values.items()},
            any_number=_best_constant([v for numbers in values.values() for v in numbers]),
            caption=central_caption([caption for room in facts for caption in room.captions]),
            depth=_median([room.depths for room in facts]),
            normal=_mean_direction(normals),
            hidden_distance=_median([room.hidden_distances for room in facts]),
        )

    def answer(self, kind: str) -> str:
        """The majority answer of a kind of question; of all questions for an unknown kind."""
        return self.answers.get(kind, self.any_answer)

    def number(self, kind: str) -> float:
        """The number that is most often within tolerance, of a kind of question."""
        return self.numbers.get(kind, self.any_number)

    def relations(
        self, subjects: NDArray[np.int64], objects: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """What to assert ``[P, R]`` of pairs of classes, from how often it held in training."""
        asserted: NDArray[np.bool_] = (
            self.relation_rate[subjects, objects] >= self.relation_threshold
        )
        return asserted


def _majority(answers: Sequence[str]) -> str:
    if not answers:
        return ""
    counts = Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer))


def _answers_by_kind(
    facts: Sequence[RoomFacts],
) -> tuple[dict[str, list[str]], dict[str, list[float]]]:
    texts: dict[str, list[str]] = defaultdict(list)
    values: dict[str, list[float]] = defaultdict(list)
    for room in facts:
        for answer in room.answers:
            if answer.value is None:
                texts[answer.kind].append(answer.text)
            else:
                values[answer.kind].append(answer.value)
    return texts, values


def _best_constant(values: Sequence[float]) -> float:
    """Return the number within tolerance of the most values; of those, the middle one."""
    if not values:
        return float("nan")
    candidates = sorted({value * factor for value in values for factor in (0.9, 1.0, 1.1)})
    hits = [sum(within_tolerance(guess, value) for value in values) for guess in candidates]
    best = [guess for guess, count in zip(candidates, hits, strict=True) if count == max(hits)]
    return best[len(best) // 2]


def central_caption(captions: Sequence[str], candidates: int = 32) -> str:
    """Return the caption with the highest mean token F1 against the others (their medoid)."""
    if not captions:
        return ""
    pool = sorted(set(captions))[:: max(1, len(set(captions)) // candidates)]
    scores = [sum(token_f1(caption, other) for other in captions) for caption in pool]
    return pool[int(np.argmax(scores))]


def _median(samples: Sequence[Array]) -> float:
    values = np.concatenate(samples) if samples else np.zeros(0)
    return float(np.median(values)) if values.size else float("nan")


def _mean_direction(normals: Array) -> Array:
    """Return the constant unit vector with the least mean angle among axes and the mean."""
    mean = normals.mean(0) if len(normals) else np.zeros(3)
    axes = np.concatenate([np.eye(3), -np.eye(3), [mean]])
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    axes = (axes / np.maximum(lengths, 1e-12))[lengths[:, 0] > 1e-6]
    angles = np.arccos(np.clip(normals @ axes.T, -1, 1))
    best: Array = axes[int(angles.mean(0).argmin())] if len(normals) else axes[2]
    return best


def relation_rate(facts: Sequence[RoomFacts], num_classes: int, num_relations: int) -> Array:
    """Return how often ``[C, C, R]`` a predicate holds between objects of two classes."""
    holds = np.zeros((num_classes, num_classes, num_relations))
    seen = np.zeros_like(holds)
    for room in facts:
        subject, other = room.objects.classes[:, None], room.objects.classes[None]
        subject, other = np.broadcast_arrays(subject, other)
        decided = (room.relations >= 0) & ~np.eye(len(room.objects), dtype=bool)[..., None]
        np.add.at(holds, (subject, other), (room.relations == 1) & decided)
        np.add.at(seen, (subject, other), decided)
    overall = holds.sum((0, 1)) / np.maximum(seen.sum((0, 1)), 1)
    return (holds + SMOOTHING * overall) / (seen + SMOOTHING)


def best_relation_threshold(facts: Sequence[RoomFacts], rate: Array) -> float:
    """Return the rate from which on asserting relations gives the best F1 in the same rooms."""
    scores, labels = [], []
    for room in facts:
        pair_rate = rate[room.objects.classes[:, None], room.objects.classes[None]]
        decided = (room.relations >= 0) & ~np.eye(len(room.objects), dtype=bool)[..., None]
        scores.append(pair_rate[decided])
        labels.append(room.relations[decided] == 1)
    score, label = np.concatenate(scores), np.concatenate(labels)
    if not label.any():
        return np.inf
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + label.sum())
    last_of_ties = np.append(np.diff(score[order]) != 0, True)
    return float(score[order][np.where(last_of_ties, f1, -1).argmax()])
