"""Relations between predicted objects: SPQ, triplets, recall of ranked triplets, exact graphs.

All of them count the same relations, those of ``docs/spq.md``; recall at K ranks them. A relation
whose name the ontology does not know, or of an object to itself, is one more wrong one.
"""

from __future__ import annotations

import numpy as np

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.graph import Counts, graph_is_exact
from g2vlm_fast.eval.metrics.ranking import Places
from g2vlm_fast.eval.metrics.spq import spq_of_rows
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring.nodes import Nodes
from g2vlm_fast.eval.scoring.score import Judgement, Score
from g2vlm_fast.eval.scoring.triplets import PREDICATES, SaidRelations, TrueRelations
from g2vlm_fast.eval.statistics import Array, ratio_of_sums

KS = (20, 50, 100)


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


def true_relations(rows: Array) -> Array:
    """Return how many relations are true ``[...]``, of summed rows ``[..., 4 C]``."""
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
        items=true_relations,
    ),
    Score(
        "spq_50",
        "relations",
        f"{_SPQ}; objects matched above IoU 0.5",
        statistic=spq_of_rows,
        items=true_relations,
    ),
    Score(
        "spq_segmentation",
        "relations",
        "SQ: mean quality of the right relations, mean over predicates; 0 for one without any",
        statistic=segmentation_of_rows,
        items=true_relations,
    ),
    Score(
        "spq_recognition",
        "relations",
        "RQ: F1 of relations, mean over predicates",
        statistic=recognition_of_rows,
        items=true_relations,
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
    said, truth = SaidRelations.of(prediction), TrueRelations.of(case.graph.relations)
    matches = nodes.matches(0.25)
    sums = truth.quality(said, matches)
    triplets = Counts(sums.true_positive.sum(), sums.predicted.sum(), sums.true.sum())
    spq: Row = tuple(sums.row.tolist())
    return Judgement(
        {
            "spq": spq,
            "spq_50": tuple(truth.quality(said, nodes.matches(0.5)).row.tolist()),
            "spq_segmentation": spq,
            "spq_recognition": spq,
            "triplet_f1": triplets.f1_sums,
            **_recall_rows(truth.places(said, matches)),
            "graph_exact": (float(graph_is_exact(nodes.counts(matches), triplets)), 1.0),
        }
    )


def _recall_rows(places: Places) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for k in KS:
        rows[f"triplet_recall_{k}"] = (places.recall(k), 1.0) if len(places) else (0.0, 0.0)
        by_predicate = places.recall_by_kind(k, len(PREDICATES))
        there = ~np.isnan(by_predicate)
        found = np.where(there, by_predicate, 0.0)
        rows[f"triplet_mean_recall_{k}"] = (*found.tolist(), *there.astype(float).tolist())
    return rows
