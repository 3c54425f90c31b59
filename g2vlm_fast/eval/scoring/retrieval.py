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

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.retrieval import (
    average_precision,
    expected_recall,
    retrieval_chance,
)
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring.galleries import Galleries, RetrievalEntry, Vector, Vectors, stacked
from g2vlm_fast.eval.scoring.score import Score, third_per_second_sum

KS = (1, 5, 10)
_DECIMALS = 12  # of a cosine; equal embeddings must tie, in whatever order they were summed up
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
    galleries = Galleries.of(entries)
    return {
        entry.scene: _rows_of(entry, number, galleries)
        for number, entry in enumerate(entries)
        if entry.descriptions or entry.phrases
    }


def _rows_of(entry: RetrievalEntry, number: int, galleries: Galleries) -> dict[str, Row]:
    size = galleries.scenes.shape[1]
    texts = [text for text, _ in entry.descriptions]
    own = [row for text in texts for row in galleries.texts_of[text]]
    return {
        **_rows(
            "text_to_scene",
            stacked([vector for _, vector in entry.descriptions], size),
            galleries.scenes,
            [galleries.scenes_of[text] for text in texts],
        ),
        **_rows(
            "scene_to_text",
            galleries.scenes[[number] if texts else []],
            galleries.descriptions,
            [own] if texts else [],
        ),
        **_rows(
            "text_to_object",
            stacked([vector for _, vector in entry.phrases], size),
            galleries.objects,
            [galleries.objects_of[text] for text, _ in entry.phrases],
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
    similarity = (gallery @ query).round(_DECIMALS)
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
