"""Relations between predicted objects: SPQ, triplets, recall of ranked triplets, exact graphs.

What is said twice counts once and what follows from other true relations is not scored, as
``docs/spq.md`` defines; recall at K ranks the same triplets. A relation whose name the ontology
does not know, or of an object to itself, is one more wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.graph import Counts, graph_is_exact
from g2vlm_fast.eval.metrics.spq import (
    NodeMatches,
    QualitySums,
    RelationRules,
    relation_sums,
    spq_of_rows,
)
from g2vlm_fast.eval.metrics.triplet_recall import scene_places
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring.nodes import Nodes
from g2vlm_fast.eval.scoring.score import Judgement, Score
from g2vlm_fast.eval.statistics import Array, ratio_of_sums
from g2vlm_fast.ontology import INVERSE, RELATIONS, SYMMETRIC_RELATIONS

RULES = RelationRules()
PREDICATES = RULES.canonical
KINDS = len(PREDICATES) + 1  # the last: names that the ontology does not know
KS = (20, 50, 100)

Triplet = tuple[int, int, int]
"""Rows of subject and object among the predicted objects, and a column of the predicates."""


def mean_over_predicates(sums: Array) -> Array:
    """Return the mean of ratios ``[..., 2 C] -> [...]`` over the predicates that are there."""
    totals, counts = np.split(sums, 2, axis=-1)
    there = counts > 0
    ratio = np.where(there, totals / np.where(there, counts, 1.0), 0.0)
    return ratio_of_sums(np.stack([ratio.sum(-1), there.sum(-1)], axis=-1))


def recognition_of_rows(rows: Array) -> Array:
    """Return RQ ``[...]`` of summed rows ``[..., 4 C]``: F1, mean over predicates."""
    _, hits, predicted, true = np.split(rows, 4, axis=-1)
    return mean_over_predicates(np.concatenate([2 * hits, predicted + true], axis=-1))


def segmentation_of_rows(rows: Array) -> Array:
    """Return SQ ``[...]`` of summed rows ``[..., 4 C]``: mean quality of true positives.

    Mean over the predicates that are true or predicted; 0 for those without a true positive.
    """
    quality, hits, predicted, true = np.split(rows, 4, axis=-1)
    mean = np.where(hits > 0, quality / np.where(hits > 0, hits, 1.0), 0.0)
    there = (predicted + true > 0).astype(np.float64)
    return mean_over_predicates(np.concatenate([mean * there, there], axis=-1))


def _true_relations(rows: Array) -> Array:
    count: Array = np.split(rows, 4, axis=-1)[3].sum(-1)
    return count


def _predicate_scenes(sums: Array) -> Array:
    count: Array = np.split(sums, 2, axis=-1)[1].sum(-1)
    return count


_SPQ = "quality of right relations in sum over TP + FP / 2 + FN / 2, mean over predicates"

SCORES = (
    Score(
        "spq",
        "relations",
        f"{_SPQ}; objects matched above IoU 0.25",
        headline=True,
        statistic=spq_of_rows,
        items=_true_relations,
    ),
    Score(
        "spq_50",
        "relations",
        f"{_SPQ}; objects matched above IoU 0.5",
        statistic=spq_of_rows,
        items=_true_relations,
    ),
    Score(
        "spq_segmentation",
        "relations",
        "SQ: mean quality of the right relations, mean over predicates; 0 for one without any",
        statistic=segmentation_of_rows,
        items=_true_relations,
    ),
    Score(
        "spq_recognition",
        "relations",
        "RQ: F1 of relations, mean over predicates",
        statistic=recognition_of_rows,
        items=_true_relations,
    ),
    Score(
        "triplet_f1",
        "relations",
        "2 TP / (predicted + true) of all relations between objects matched above IoU 0.25",
        headline=True,
    ),
    *(
        Score(
            f"triplet_recall_{k}",
            "relations",
            f"share of the true relations of a scene among its {k} likeliest, by score times the "
            "scores of both objects, any number a pair; mean over scenes",
        )
        for k in KS
    ),
    *(
        Score(
            f"triplet_mean_recall_{k}",
            "relations",
            f"the same share among {k} for each predicate, mean over scenes, then over predicates",
            statistic=mean_over_predicates,
            items=_predicate_scenes,
        )
        for k in KS
    ),
    Score(
        "graph_exact",
        "relations",
        "share of scenes with every object (IoU above 0.25) and every relation, and no other",
        rate=True,
    ),
)


def judge(case: Case, prediction: ScenePrediction) -> Judgement:
    """Score the relations of one scene."""
    if case.graph is None or case.graph.relations is None:
        return Judgement()
    nodes = Nodes.of(prediction, case.graph)
    said = _Said.of(prediction)
    truth = _Truth.of(case.graph.relations)
    matches = nodes.matches(0.25)
    sums = truth.sums_of(said, matches)
    triplets = Counts(sums.true_positive.sum(), sums.predicted.sum(), sums.true.sum())
    hits = float((matches.means >= 0).sum())
    detections = Counts(hits, len(nodes.predicted_classes), len(nodes.true_classes))
    row = tuple(sums.row.tolist())
    rows: dict[str, Row] = {
        "spq": row,
        "spq_segmentation": row,
        "spq_recognition": row,
        "spq_50": tuple(truth.sums_of(said, nodes.matches(0.5)).row.tolist()),
        "triplet_f1": triplets.f1_sums,
        "graph_exact": (float(graph_is_exact(detections, triplets)), 1.0),
    }
    return Judgement(rows | truth.recall_rows(said, matches))


@dataclass(frozen=True)
class _Said:
    """The relations of a prediction.

    Attributes:
        objects: how many objects it has.
        scores: best score of each triplet of known predicates, times those of its objects.
        unknown: how many different relations the ontology has no place for.
    """

    objects: int
    scores: dict[Triplet, float]
    unknown: int

    @classmethod
    def of(cls, prediction: ScenePrediction) -> _Said:
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
        return cls(len(prediction.objects), scores, len(unknown))

    def pairs_and_columns(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Pairs ``[P, 2]`` and whether each relation is asserted of them, ``[P, R]``."""
        pairs = sorted({(subject, other) for subject, other, _ in self.scores})
        asserted = np.zeros((len(pairs), len(RELATIONS)), dtype=bool)
        place = {pair: row for row, pair in enumerate(pairs)}
        for subject, other, column in self.scores:
            asserted[place[subject, other], column] = True
        return np.array(pairs, dtype=np.int64).reshape(-1, 2), asserted

    def canonical(self, matches: NodeMatches) -> dict[Triplet, float]:
        """The best score of each triplet of :data:`PREDICATES`, however it was said."""
        best: dict[Triplet, float] = {}
        for (subject, other, column), score in self.scores.items():
            name = RELATIONS[column]
            ends = [subject, other]
            if name not in PREDICATES:
                name, ends = INVERSE[name], [other, subject]
            if name in SYMMETRIC_RELATIONS:
                ends.sort(key=lambda row: (matches.means[row], row))
            triplet = (ends[0], ends[1], PREDICATES.index(name))
            best[triplet] = max(score, best.get(triplet, 0.0))
        return best


@dataclass(frozen=True)
class _Truth:
    """The relations that hold between K objects.

    Attributes:
        labels: ``[K, K, R]`` of the ontology.
        canonical: ``[K, K, C]`` of :data:`PREDICATES`, without what others imply.
    """

    labels: NDArray[np.int8]
    canonical: NDArray[np.int8]

    @classmethod
    def of(cls, labels: NDArray[np.int8]) -> _Truth:
        pairs = _ordered_pairs(len(labels))
        dense = RULES.dense("judge", pairs, labels[pairs[:, 0], pairs[:, 1]], len(labels))
        return cls(labels, RULES.leave_out_implied(dense))

    def sums_of(self, said: _Said, matches: NodeMatches) -> QualitySums:
        """The sums of SPQ, by predicate; the last kind is what the ontology does not know."""
        pairs = _ordered_pairs(len(self.labels))
        sums = relation_sums(
            *said.pairs_and_columns(),
            matches,
            pairs,
            self.labels[pairs[:, 0], pairs[:, 1]],
            len(self.labels),
            rules=RULES,
        )
        return QualitySums(
            np.append(sums.quality, 0.0),
            np.append(sums.true_positive, 0.0),
            np.append(sums.predicted, float(said.unknown)),
            np.append(sums.true, 0.0),
        )

    def recall_rows(self, said: _Said, matches: NodeMatches) -> dict[str, Row]:
        ranked = said.canonical(matches)
        pairs = sorted({(subject, other) for subject, other, _ in ranked})
        scores = np.full((len(pairs), len(PREDICATES)), -np.inf)
        place = {pair: row for row, pair in enumerate(pairs)}
        for (subject, other, column), score in ranked.items():
            scores[place[subject, other], column] = score
        true_pairs = np.argwhere((self.canonical != 0).any(-1))
        places = scene_places(
            np.array(pairs, dtype=np.int64).reshape(-1, 2),
            scores,
            matches.means,
            true_pairs,
            self.canonical[true_pairs[:, 0], true_pairs[:, 1]],
            graph_constraint=False,
        )
        rows: dict[str, Row] = {}
        for k in KS:
            there = len(places) > 0
            rows[f"triplet_recall_{k}"] = (places.recall(k), 1.0) if there else (0.0, 0.0)
            by_predicate = places.recall_by_kind(k, len(PREDICATES))
            present = ~np.isnan(by_predicate)
            found = np.where(present, by_predicate, 0.0)
            rows[f"triplet_mean_recall_{k}"] = (*found.tolist(), *present.astype(float).tolist())
        return rows


def _ordered_pairs(count: int) -> NDArray[np.int64]:
    return np.argwhere(~np.eye(count, dtype=bool))
