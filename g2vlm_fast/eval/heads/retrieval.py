"""Text to scene and scene to text, over the gallery of all scenes evaluated together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from g2vlm_fast.eval.metric import Definition, Sums
from g2vlm_fast.eval.metrics.retrieval import recall_at, retrieval_ranks
from g2vlm_fast.eval.priors import Array

_CHANCE = "a random order of the gallery"

DEFINITIONS = (
    Definition("retrieval_r1", "retrieval", _CHANCE, headline=True, rate=True),
    Definition("retrieval_text_to_scene_r1", "retrieval", _CHANCE, rate=True),
    Definition("retrieval_text_to_scene_r5", "retrieval", _CHANCE, rate=True),
    Definition("retrieval_scene_to_text_r1", "retrieval", _CHANCE, rate=True),
    Definition("retrieval_scene_to_text_r5", "retrieval", _CHANCE, rate=True),
)


def judge_retrieval(
    scene_embeddings: Array, text_embeddings: Array, captions: Sequence[str]
) -> list[dict[str, Sums]]:
    """Rank scenes for each caption, and captions for each scene; both ways count together.

    Args:
        scene_embeddings: ``[B, C]`` unit norm; text_embeddings: ``[B, C]``, of one caption a scene.
        captions: the texts; scenes with equal captions answer for each other.

    Returns:
        The sums of each scene, in order.
    """
    count = len(captions)
    relevant = np.array([[a == b for b in captions] for a in captions], dtype=bool)
    similarity = text_embeddings @ scene_embeddings.T
    ranks = {
        "text_to_scene": retrieval_ranks(similarity, relevant),
        "scene_to_text": retrieval_ranks(similarity.T, relevant),
    }
    twins = relevant.sum(1)
    sums: list[dict[str, Sums]] = [{} for _ in captions]
    for direction, rank in ranks.items():
        for k in (1, 5):
            hits = recall_at(rank, k)
            for scene in range(count):
                chance = _random_recall(count, int(twins[scene]), k)
                sums[scene][f"retrieval_{direction}_r{k}"] = Sums(
                    (float(hits[scene]), 1.0), (chance, 1.0)
                )
    for of_scene in sums:
        there, back = (of_scene[f"retrieval_{direction}_r1"] for direction in ranks)
        of_scene["retrieval_r1"] = Sums(
            _add(there.value, back.value), _add(there.chance, back.chance)
        )
    return sums


def _add(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    return first[0] + second[0], first[1] + second[1]


def _random_recall(gallery: int, relevant: int, k: int) -> float:
    """Probability that ``k`` random items of the gallery hold one of the relevant ones."""
    missed = 1.0
    for drawn in range(min(k, gallery)):
        missed *= max(gallery - relevant - drawn, 0) / (gallery - drawn)
    return 1.0 - missed
