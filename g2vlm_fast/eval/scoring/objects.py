"""Objects: detections of the right class against the true boxes, matched one to one."""

from __future__ import annotations

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.spq import node_sums, spq_of_rows
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring.nodes import KINDS, Nodes
from g2vlm_fast.eval.scoring.score import Judgement, Score
from g2vlm_fast.eval.statistics import Array

_THRESHOLDS = {0.25: "25", 0.5: "50"}
_TRUE = slice(3 * KINDS, 4 * KINDS)


def _true_objects(sums: Array) -> Array:
    count: Array = sums[..., _TRUE].sum(-1)
    return count


SCORES = (
    *(
        Score(
            f"object_f1_{told}",
            "objects",
            "2 TP / (predicted + true) of objects of equal class, one to one, box IoU above "
            f"{threshold:g}",
            headline=threshold == 0.25,
        )
        for threshold, told in _THRESHOLDS.items()
    ),
    *(
        Score(
            f"spq_node_{told}",
            "objects",
            f"panoptic quality of boxes: IoU of matches above {threshold:g} in sum over "
            "TP + FP / 2 + FN / 2, mean over classes",
            statistic=spq_of_rows,
            items=_true_objects,
        )
        for threshold, told in _THRESHOLDS.items()
    ),
)


def judge(case: Case, prediction: ScenePrediction) -> Judgement:
    """Score the objects of one scene."""
    if case.graph is None:
        return Judgement()
    nodes = Nodes.of(prediction, case.graph)
    rows: dict[str, Row] = {}
    for threshold, told in _THRESHOLDS.items():
        matches = nodes.matches(threshold)
        rows[f"object_f1_{told}"] = nodes.counts(matches).f1_sums
        sums = node_sums(matches, nodes.predicted_classes, nodes.true_classes, KINDS)
        rows[f"spq_node_{told}"] = tuple(sums.row.tolist())
    return Judgement(rows)
