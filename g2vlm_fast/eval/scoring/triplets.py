"""The relations of a prediction and of a truth, in the form that scores count them.

What is said twice counts once, and what follows from other true relations is not scored
(``docs/spq.md``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.ranking import Places
from g2vlm_fast.eval.metrics.spq import NodeMatches, QualitySums, RelationRules, relation_sums
from g2vlm_fast.eval.metrics.triplet_recall import scene_places
from g2vlm_fast.ontology import INVERSE, RELATIONS, SYMMETRIC_RELATIONS

RULES = RelationRules()
PREDICATES = RULES.canonical
"""Relations that are counted; the others say the same the other way round."""

Triplet = tuple[int, int, int]
"""Rows of subject and object among the predicted objects, and a column of relations."""


@dataclass(frozen=True)
class SaidRelations:
    """The relations of a prediction.

    Attributes:
        scores: best score of each triplet, times those of its objects; columns of ``RELATIONS``.
        unknown: how many different relations there are besides: of a name that the ontology does
            not know, or of an object to itself.
    """

    scores: dict[Triplet, float]
    unknown: int

    @classmethod
    def of(cls, prediction: ScenePrediction) -> SaidRelations:
        row_of = {thing.id: row for row, thing in enumerate(prediction.objects)}
        sure = [thing.score for thing in prediction.objects]
        scores: dict[Triplet, float] = {}
        unknown: set[tuple[int, int, str]] = set()
        for said in prediction.relations:
            subject, other = row_of[said.subject], row_of[said.object]
            if said.name not in RELATIONS or subject == other:
                unknown.add((subject, other, said.name))
                continue
            triplet = (subject, other, RELATIONS.index(said.name))
            score = said.score * sure[subject] * sure[other]
            scores[triplet] = max(score, scores.get(triplet, 0.0))
        return cls(scores, len(unknown))

    def canonical(self, matches: NodeMatches) -> dict[Triplet, float]:
        """The best score of each triplet, however it was said; columns of :data:`PREDICATES`.

        The ends of a symmetric relation stand in the order of the true objects that they mean.
        """
        best: dict[Triplet, float] = {}
        for (subject, other, column), score in self.scores.items():
            name, ends = RELATIONS[column], [subject, other]
            if name not in PREDICATES:
                name, ends = INVERSE[name], [other, subject]
            if name in SYMMETRIC_RELATIONS:
                ends.sort(key=lambda row: (matches.means[row], row))
            triplet = (ends[0], ends[1], PREDICATES.index(name))
            best[triplet] = max(score, best.get(triplet, 0.0))
        return best


@dataclass(frozen=True)
class TrueRelations:
    """The relations that hold between K objects.

    Attributes:
        pairs: ``[K (K - 1), 2]``, all ordered pairs of objects.
        labels: ``[K (K - 1), R]`` of ``RELATIONS``: 1 holds, 0 does not, -1 undecided.
        objects: K.
    """

    pairs: NDArray[np.int64]
    labels: NDArray[np.int8]
    objects: int

    @classmethod
    def of(cls, labels: NDArray[np.int8]) -> TrueRelations:
        """Take labels ``[K, K, R]``."""
        pairs = np.argwhere(~np.eye(len(labels), dtype=bool))
        return cls(pairs, labels[pairs[:, 0], pairs[:, 1]], len(labels))

    def quality(self, said: SaidRelations, matches: NodeMatches) -> QualitySums:
        """The sums of SPQ, by predicate; the last kind is what the ontology does not know.

        Relations of objects that match nothing are counted as wrong ones right away, so that the
        work does not grow with the square of how many objects a system predicts.
        """
        means = matches.means
        between_true: dict[Triplet, float] = {}
        wrong = np.zeros(len(PREDICATES))
        for (subject, other, column), score in said.canonical(matches).items():
            if min(means[subject], means[other]) < 0:
                wrong[column] += 1
            else:
                name = RELATIONS.index(PREDICATES[column])
                between_true[int(means[subject]), int(means[other]), name] = score
        iou = np.zeros(self.objects)
        iou[means[means >= 0]] = matches.iou[means >= 0]
        pairs, scores = _table(between_true, len(RELATIONS))
        sums = relation_sums(
            pairs,
            np.isfinite(scores),
            NodeMatches(np.arange(self.objects), iou),
            self.pairs,
            self.labels,
            self.objects,
            rules=RULES,
        )
        return QualitySums(
            np.append(sums.quality, 0.0),
            np.append(sums.true_positive, 0.0),
            np.append(sums.predicted + wrong, float(said.unknown)),
            np.append(sums.true, 0.0),
        )

    def places(self, said: SaidRelations, matches: NodeMatches) -> Places:
        """Where each true relation stands among all that were said, best score first."""
        dense = RULES.dense("TrueRelations.places", self.pairs, self.labels, self.objects)
        canonical = RULES.leave_out_implied(dense)
        true_pairs = np.argwhere((canonical != 0).any(-1))
        return scene_places(
            *_table(said.canonical(matches), len(PREDICATES)),
            matches.means,
            true_pairs,
            canonical[true_pairs[:, 0], true_pairs[:, 1]],
            graph_constraint=False,
        )


def _table(
    triplets: dict[Triplet, float], columns: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs ``[P, 2]``, each once, and their scores ``[P, columns]``, -inf for what is not said."""
    pairs = sorted({(subject, other) for subject, other, _ in triplets})
    place = {pair: row for row, pair in enumerate(pairs)}
    scores = np.full((len(pairs), columns), -np.inf)
    for (subject, other, column), score in triplets.items():
        scores[place[subject, other], column] = score
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), scores
