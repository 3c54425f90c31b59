"""Retrieval over all scenes of a benchmark: texts and scenes, and phrases and objects.

Similarity is the cosine between embeddings.

* Text to scene: every description of a scene ranks all scenes; scene to text: every scene ranks
  all descriptions. Descriptions in the same words answer for each other.
* Text to object: every phrase ranks the predicted objects of all scenes. Right are those of its
  own scene whose box has an IoU of at least 0.25 with the object that it singles out.

What has no embedding is never found; a text without one finds nothing; a phrase whose object was
not detected fails. All of them are counted. Luck is a random order of the same gallery.

The galleries stay as they are where scenes are resampled: an interval tells how the queries vary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.facts import is_phrase, is_statement
from g2vlm_fast.eval.metrics.boxes import box_iou
from g2vlm_fast.eval.metrics.retrieval import (
    average_precision,
    recall_at,
    retrieval_chance,
    retrieval_ranks,
)
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring.nodes import predicted_boxes
from g2vlm_fast.eval.scoring.score import Score, third_per_second_sum
from g2vlm_fast.eval.scoring.usable import usable

KS = (1, 5, 10)
SAME_OBJECT = 0.25
"""Box IoU from which on a predicted object is the one that a phrase singles out."""

_DIRECTIONS = {
    "text_to_scene": "descriptions; all scenes are ranked",
    "scene_to_text": "scenes; all descriptions are ranked",
    "text_to_object": "phrases; the predicted objects of all scenes are ranked",
}

SCORES = tuple(
    score
    for direction, queries in _DIRECTIONS.items()
    for score in (
        *(
            Score(
                f"{direction}_recall_{k}",
                "retrieval",
                f"share of queries with a right item among the first {k}; queries are {queries}",
                headline=k == 1,
                rate=True,
                chance=third_per_second_sum,
            )
            for k in KS
        ),
        Score(
            f"{direction}_map",
            "retrieval",
            f"mean average precision over all right items; queries are {queries}",
            chance=third_per_second_sum,
        ),
    )
)

Vector = NDArray[np.float64]
Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class RetrievalEntry:
    """What retrieval needs of one scene and of what was said of it; vectors have unit length.

    Attributes:
        scene: its name.
        embedding: ``[C]``, or None.
        descriptions: texts, each with its embedding ``[C]`` or None.
        phrases: embeddings ``[C]`` or None, each with ``[K]``: which predicted objects are meant.
        objects: ``[K]`` embeddings ``[C]`` or None.
    """

    scene: str
    embedding: Vector | None
    descriptions: tuple[tuple[str, Vector | None], ...]
    phrases: tuple[tuple[Vector | None, NDArray[np.bool_]], ...]
    objects: tuple[Vector | None, ...]

    @classmethod
    def of(cls, case: Case, prediction: ScenePrediction | None) -> RetrievalEntry:
        """Return the entry of a case; of one without a usable prediction, there is nothing."""
        said = usable(case, prediction).prediction
        vectors = _unit(said.text_embeddings, len(said.texts))
        embedding_of = dict(zip(said.texts, vectors, strict=True))
        phrases = []
        if case.graph is not None:
            iou = box_iou(predicted_boxes(said.objects), case.graph.boxes)
            phrases = [
                (embedding_of.get(query.text), iou[:, query.referred] >= SAME_OBJECT)
                for query in case.queries
                if is_phrase(query)
            ]
        one = None if said.scene_embedding is None else said.scene_embedding[None]
        return cls(
            case.name,
            _unit(one, 1)[0],
            tuple(
                (query.text, embedding_of.get(query.text))
                for query in case.queries
                if is_statement(query)
            ),
            tuple(phrases),
            tuple(_unit(said.object_embeddings, len(said.objects))),
        )


def retrieval_rows(
    cases_and_predictions: Iterable[tuple[Case, ScenePrediction | None]],
) -> dict[str, dict[str, Row]]:
    """Let all scenes of a benchmark rank each other.

    Args:
        cases_and_predictions: each case with its prediction, None where it failed; they are taken
            one by one, and only their :class:`RetrievalEntry` is kept.

    Returns:
        The rows of every scene, by its name and by the name of the score; of a scene without
        descriptions and phrases, none.

    Raises:
        ValueError: scenes of one name, or embeddings of several sizes.
    """
    return rank_entries(
        [RetrievalEntry.of(case, prediction) for case, prediction in cases_and_predictions]
    )


def rank_entries(entries: Sequence[RetrievalEntry]) -> dict[str, dict[str, Row]]:
    """Return :func:`retrieval_rows` of entries that were made before."""
    names = [entry.scene for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"rank_entries: scenes must have names of their own, {twice[0]!r} has not")
    size = _size(entries)
    scenes = _table([entry.embedding for entry in entries], size)
    texts = [text for entry in entries for text, _ in entry.descriptions]
    descriptions = _table([v for entry in entries for _, v in entry.descriptions], size)
    objects = _table([vector for entry in entries for vector in entry.objects], size)
    first_object = np.cumsum([0, *(len(entry.objects) for entry in entries)])
    rows: dict[str, dict[str, Row]] = {}
    for number, entry in enumerate(entries):
        if not entry.descriptions and not entry.phrases:
            continue
        own = {text for text, _ in entry.descriptions}
        mine = np.array([text in own for text in texts], dtype=bool)
        told = _table([vector for _, vector in entry.descriptions], size)
        same = np.array(
            [
                [any(text == other for other, _ in each.descriptions) for each in entries]
                for text, _ in entry.descriptions
            ],
            dtype=bool,
        ).reshape(len(told), len(entries))
        asked = _table([vector for vector, _ in entry.phrases], size)
        meant = np.zeros((len(asked), len(objects)), dtype=bool)
        for row, (_, means) in enumerate(entry.phrases):
            meant[row, first_object[number] : first_object[number + 1]] = means
        scene = scenes[[number]] if own else scenes[:0]
        rows[entry.scene] = {
            **_rows("text_to_scene", told, scenes, same),
            **_rows("scene_to_text", scene, descriptions, mine[None][: len(scene)]),
            **_rows("text_to_object", asked, objects, meant),
        }
    return rows


def _rows(
    direction: str, queries: Vectors, gallery: Vectors, right: NDArray[np.bool_]
) -> dict[str, Row]:
    """Sum hits, queries and luck over the queries ``[Q, C]`` of one scene."""
    sums = {name: np.zeros(3) for name in [*(f"recall_{k}" for k in KS), "map"]}
    for query, wanted in zip(queries, right, strict=True):
        found = _measures(query, gallery, wanted)
        luck = _luck(wanted)
        for name, total in sums.items():
            total += np.array([found.get(name, 0.0), 1.0, luck.get(name, 0.0)])
    return {f"{direction}_{name}": tuple(total.tolist()) for name, total in sums.items()}


def _measures(query: Vector, gallery: Vectors, right: NDArray[np.bool_]) -> dict[str, float]:
    """Measures of one query; nothing where it or all right items have no embedding."""
    similarity = gallery @ query
    reachable = right & ~np.isnan(similarity)
    if not reachable.any():
        return {}
    scores = np.where(np.isnan(similarity), -np.inf, similarity)[None]
    rank = retrieval_ranks(scores, reachable[None])
    measures = {f"recall_{k}": float(recall_at(rank, k)[0]) for k in KS}
    precision = float(average_precision(scores, reachable[None])[0])
    return measures | {"map": precision * reachable.sum() / right.sum()}


def _luck(right: NDArray[np.bool_]) -> dict[str, float]:
    if not right.any():
        return {}
    chance = retrieval_chance(right[None], ks=KS)
    recall = {f"recall_{k}": value for k, value in chance.recall.items()}
    return recall | {"map": chance.mean_average_precision}


def _size(entries: Sequence[RetrievalEntry]) -> int:
    """The one length of all embeddings; 0 where there is none."""
    sizes = {
        len(vector): entry.scene
        for entry in entries
        for vector in [entry.embedding, *entry.objects, *(v for _, v in entry.descriptions)]
        if vector is not None
    }
    if len(sizes) > 1:
        told = " and ".join(f"{size} ({scene!r})" for size, scene in sorted(sizes.items()))
        raise ValueError(f"retrieval: embeddings of all scenes must have one length, got {told}")
    return next(iter(sizes), 0)


def _table(vectors: Sequence[Vector | None], size: int) -> Vectors:
    """Stack vectors ``[n, C]``; NaN stands for those that are not there."""
    table = np.full((len(vectors), size), np.nan)
    for row, vector in enumerate(vectors):
        if vector is not None:
            table[row] = vector
    return table


def _unit(embeddings: NDArray[np.float32] | None, count: int) -> list[Vector | None]:
    if embeddings is None:
        return [None] * count
    vectors = embeddings.astype(np.float64)
    return list(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
