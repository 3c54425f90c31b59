"""What retrieval ranks: the embeddings of all scenes, and who is right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.facts import is_phrase, is_statement
from g2vlm_fast.eval.metrics.boxes import box_iou
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.scoring.nodes import predicted_boxes
from g2vlm_fast.eval.scoring.usable import usable

SAME_OBJECT = 0.25
"""Box IoU from which on a predicted object is the one that a phrase singles out."""

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


@dataclass(frozen=True)
class Galleries:
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
    def of(cls, entries: Sequence[RetrievalEntry]) -> Galleries:
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
            stacked([entry.embedding for entry in entries], size),
            stacked(descriptions, size),
            stacked(objects, size),
            scenes_of,
            texts_of,
            objects_of,
        )


def _size(entries: Sequence[RetrievalEntry]) -> int:
    """The one length of all embeddings; 1 where there is none."""
    sizes = {len(vector): entry.scene for entry in entries for vector in entry.vectors()}
    if len(sizes) > 1:
        told = " and ".join(f"{size} ({scene!r})" for size, scene in sorted(sizes.items()))
        raise ValueError(f"retrieval: embeddings of all scenes must have one length, got {told}")
    return next(iter(sizes), 1)


def stacked(vectors: Sequence[Vector | None], size: int) -> Vectors:
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
