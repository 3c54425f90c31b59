"""Relations between true objects, for systems that are given them: SPQ_gt of ``docs/spq.md``.

Whoever is scored here copies the true boxes and classes into its prediction and relates them. An
object takes part only where its class is right and its box is the true one (IoU above 0.99), and it
then counts as exactly placed: every quality is 1, and SPQ is the F1 of relations, mean over
predicates. Relations of all other objects are wrong ones.
"""

from __future__ import annotations

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.graph import Counts
from g2vlm_fast.eval.metrics.spq import NodeMatches, spq_of_rows
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.scoring.nodes import Nodes
from g2vlm_fast.eval.scoring.relations import true_relations
from g2vlm_fast.eval.scoring.score import Judgement, Score
from g2vlm_fast.eval.scoring.triplets import SaidRelations, TrueRelations

THE_TRUE_BOX = 0.99
"""Box IoU above which an object is the one that was given; boxes may have been rounded."""

SCORES = (
    Score(
        "spq_given_objects",
        "predicate_classification",
        "SPQ_gt: F1 of relations between the true objects, mean over predicates",
        headline=True,
        statistic=spq_of_rows,
        items=true_relations,
    ),
    Score(
        "triplet_f1_given_objects",
        "predicate_classification",
        "2 TP / (predicted + true) of all relations between the true objects",
    ),
)


def judge(case: Case, prediction: ScenePrediction) -> Judgement:
    """Score the relations between the given objects of one scene."""
    if case.graph is None or case.graph.relations is None:
        return Judgement()
    means = Nodes.of(prediction, case.graph).matches(THE_TRUE_BOX).means
    placed = NodeMatches(means, (means >= 0).astype(float))
    truth = TrueRelations.of(case.graph.relations)
    sums = truth.quality(SaidRelations.of(prediction), placed)
    triplets = Counts(sums.true_positive.sum(), sums.predicted.sum(), sums.true.sum())
    return Judgement(
        {
            "spq_given_objects": tuple(sums.row.tolist()),
            "triplet_f1_given_objects": triplets.f1_sums,
        }
    )
