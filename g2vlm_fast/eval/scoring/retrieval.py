"""Retrieval over all scenes of a benchmark: texts and scenes, and phrases and objects.

Similarity is the cosine between embeddings.

* Text to scene: every description of a scene ranks all scenes; scene to text: every scene ranks
  all descriptions. Descriptions in the same words answer for each other.
* Text to object: every phrase ranks the predicted objects of all scenes. Right are those of its
  own scene whose box has an IoU of at least 0.25 with the object that it singles out, and those
  of other scenes where the same words were used.

What has no embedding is never found; a text without one finds nothing; a phrase whose object was
not detected fails. All of them are counted. Items of equal similarity stand in random order, and
luck is a random order of the same gallery.

The galleries stay as they are where scenes are resampled: an interval tells how the queries vary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.facts import is_phrase, is_statement
from g2vlm_fast.eval.metrics.boxes import box_iou
from g2vlm_fast.eval.metrics.retrieval import (
    average_precision,
    expected_recall,
    retrieval_chance,
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
        phrases: texts, each with its embedding ``[C]`` or None.
        meant: of each phrase, the rows of the predicted objects that it means.
        objects: ``[K]`` embeddings ``[C]`` or None.
    """

    scene: str
    embedding: Vector | None
    descriptions: tuple[tuple[str, Vector | None], ...]
    phrases: tuple[tuple[str, Vector | None], ...]
    meant: tuple[tuple[int, ...], ...]
    objects: tuple[Vector | None, ...]

    @classmethod
    def of(cls, case: Case, prediction: ScenePrediction | None) -> RetrievalEntry:
        """Return the entry of a case; of one without a usable prediction, there is nothing."""
        said = usable(case, prediction).prediction
        vectors = _unit(said.text_embeddings, len(said.texts))
        embedding_of = dict(zip(said.texts, vectors, strict=True))
        phrases = [] if case.graph is None else [q for q in case.queries if is_phrase(q)]
        meant = []
        if case.graph is not None:
            iou = box_iou(predicted_boxes(said.objects), case.graph.boxes)
            meant = [np.flatnonzero(iou[:, q.referred] >= SAME_OBJECT) for q in phrases]
        one = None if said.scene_embedding is None else said.scene_embedding[None]
        return cls(
            scene=case.name,
            embedding=_unit(one, 1)[0],
            descriptions=tuple(
                (q.text, embedding_of.get(q.text)) for q in case.queries if is_statement(q)
            ),
            phrases=tuple((q.text, embedding_of.get(q.text)) for q in phrases),
            meant=tuple(tuple(rows.tolist()) for rows in meant),
            objects=tuple(_unit(said.object_embeddings, len(said.objects))),
        )

    def vectors(self) -> list[Vector]:
        """All embeddings that there are."""
        every = [
            self.embedding,
            *(vector for _, vector in self.descriptions),
            *(vector for _, vector in self.phrases),
            *self.objects,
        ]
        return [vector for vector in every if vector is not None]


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
    galleries = _Galleries.of(entries)
    return {
        entry.scene: galleries.rows_of(entry, number)
        for number, entry in enumerate(entries)
        if entry.descriptions or entry.phrases
    }


@dataclass(frozen=True)
class _Galleries:
    """What is ranked, ``[n, C]`` each with NaN for what has no embedding, and who is right.

    Attributes:
        scenes_of, texts_of: rows of the scenes, and of the descriptions, with a description.
        objects_of: rows of the objects that a phrase means, in whatever scene it was used.
    """

    scenes: Vectors
    descriptions: Vectors
    objects: Vectors
    scenes_of: Mapping[str, list[int]]
    texts_of: Mapping[str, list[int]]
    objects_of: Mapping[str, list[int]]

    @classmethod
    def of(cls, entries: Sequence[RetrievalEntry]) -> _Galleries:
        scenes_of, texts_of, objects_of = (defaultdict[str, list[int]](list) for _ in range(3))
        descriptions: list[Vector | None] = []
        objects: list[Vector | None] = []
        for number, entry in enumerate(entries):
            for text, vector in entry.descriptions:
                scenes_of[text].append(number)
                texts_of[text].append(len(descriptions))
                descriptions.append(vector)
            for (text, _), rows in zip(entry.phrases, entry.meant, strict=True):
                objects_of[text] += [len(objects) + row for row in rows]
            objects += entry.objects
        size = _size(entries)
        return cls(
            _table([entry.embedding for entry in entries], size),
            _table(descriptions, size),
            _table(objects, size),
            scenes_of,
            texts_of,
            objects_of,
        )

    def rows_of(self, entry: RetrievalEntry, number: int) -> dict[str, Row]:
        """The rows of the scene with this number."""
        size = self.scenes.shape[1]
        texts = [text for text, _ in entry.descriptions]
        own = [row for text in texts for row in self.texts_of[text]]
        return {
            **_rows(
                "text_to_scene",
                _table([vector for _, vector in entry.descriptions], size),
                self.scenes,
                [self.scenes_of[text] for text in texts],
            ),
            **_rows(
                "scene_to_text",
                self.scenes[[number] if texts else []],
                self.descriptions,
                [own] if texts else [],
            ),
            **_rows(
                "text_to_object",
                _table([vector for _, vector in entry.phrases], size),
                self.objects,
                [self.objects_of[text] for text, _ in entry.phrases],
            ),
        }


def _rows(
    direction: str, queries: Vectors, gallery: Vectors, right: Sequence[Sequence[int]]
) -> dict[str, Row]:
    """Sum hits, queries and luck over the queries ``[Q, C]`` of one scene."""
    sums = {name: np.zeros(3) for name in [*(f"recall_{k}" for k in KS), "map"]}
    for query, rows in zip(queries, right, strict=True):
        wanted = np.zeros(len(gallery), dtype=bool)
        wanted[rows] = True
        found, luck = _measures(query, gallery, wanted), _luck(wanted)
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
    measures = {f"recall_{k}": float(expected_recall(scores, reachable[None], k)[0]) for k in KS}
    precision = float(average_precision(scores, reachable[None])[0])
    return measures | {"map": precision * reachable.sum() / right.sum()}


def _luck(right: NDArray[np.bool_]) -> dict[str, float]:
    if not right.any():
        return {}
    chance = retrieval_chance(right[None], ks=KS)
    recall = {f"recall_{k}": value for k, value in chance.recall.items()}
    return recall | {"map": chance.mean_average_precision}


def _size(entries: Sequence[RetrievalEntry]) -> int:
    """The one length of all embeddings; 1 where there is none."""
    sizes = {len(vector): entry.scene for entry in entries for vector in entry.vectors()}
    if len(sizes) > 1:
        told = " and ".join(f"{size} ({scene!r})" for size, scene in sorted(sizes.items()))
        raise ValueError(f"retrieval: embeddings of all scenes must have one length, got {told}")
    return next(iter(sizes), 1)


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
