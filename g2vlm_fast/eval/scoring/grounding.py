"""Grounding: whether the box that a phrase is said to mean is that of the object it singles out.

The object with the highest score is taken; of several with the same score each counts in part, as
a random one of them would. A phrase that got no object fails. A phrase is *unique* where its object
is the only one of its class in the scene, and *multiple* elsewhere (Chen, Chang and Nießner,
"ScanRefer", ECCV 2020).

F1 of phrase grounding counts the links that a system asserts between phrases and objects, those
with a score of at least one half: a phrase may get none or several, and whoever grounds everything
everywhere is wrong most of the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import PredictedGrounding, ScenePrediction
from g2vlm_fast.eval.facts import is_phrase
from g2vlm_fast.eval.metrics.boxes import box_iou
from g2vlm_fast.eval.metrics.graph import Counts
from g2vlm_fast.eval.metrics.localisation import THRESHOLDS
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Item, Row
from g2vlm_fast.eval.scoring.nodes import predicted_boxes
from g2vlm_fast.eval.scoring.score import Judgement, Score, third_per_second_sum

_GROUPS = {"": "", "_unique": "; the only object of its class", "_multiple": "; one of several"}
_TOLD = {threshold: f"{100 * threshold:.0f}" for threshold in THRESHOLDS}

ASSERTED = 0.5
"""Score from which on an object is said to be meant."""

_ACCURACIES = tuple(
    Score(
        f"grounding_acc_{told}{group}",
        "grounding",
        f"share of phrases whose object's box has an IoU of at least {threshold:g}{which}",
        headline=not group,
        rate=True,
        chance=third_per_second_sum,
    )
    for group, which in _GROUPS.items()
    for threshold, told in _TOLD.items()
)

SCORES = (
    *_ACCURACIES,
    *(
        Score(
            f"grounding_f1_{told}",
            "grounding",
            "2 TP / (predicted + true) of links between phrases and objects with a score of at "
            f"least {ASSERTED:g}; box IoU of at least {threshold:g}, one link a phrase is true",
        )
        for threshold, told in _TOLD.items()
    ),
)


def judge(case: Case, prediction: ScenePrediction) -> Judgement:
    """Score what the phrases of one scene are said to mean; luck is any predicted object."""
    if case.graph is None:
        return Judgement()
    phrases = [query for query in case.queries if is_phrase(query)]
    iou = box_iou(predicted_boxes(prediction.objects), case.graph.boxes)
    row_of = {thing.id: row for row, thing in enumerate(prediction.objects)}
    said = {grounding.text: grounding for grounding in prediction.groundings}
    names = case.graph.class_names
    sums = {score.name: np.zeros(3) for score in _ACCURACIES}
    links = {told: Counts(0, 0, 0) for told in _TOLD.values()}
    items = []
    for query in phrases:
        assert query.referred is not None  # of every phrase
        overlap = iou[:, query.referred]
        chosen = _most_likely(said.get(query.text), row_of)
        asserted = _asserted(said.get(query.text), row_of)
        group = "_unique" if names.count(names[query.referred]) == 1 else "_multiple"
        for threshold, told in _TOLD.items():
            close = (overlap >= threshold).astype(np.float64)
            tried = np.array([_mean(close[chosen]), 1.0, _mean(close)])
            sums[f"grounding_acc_{told}"] += tried
            sums[f"grounding_acc_{told}{group}"] += tried
            hit = bool(close[asserted].any())
            links[told] = Counts(*np.add(links[told], (hit, len(asserted), 1)))
        best = float(overlap[chosen].max(initial=0.0))
        items.append(
            Item(
                "grounding",
                query.kind,
                query.text,
                ", ".join(prediction.objects[row].class_name for row in chosen),
                f"{names[query.referred]}, IoU {best:.2f}",
                _mean((overlap[chosen] >= min(THRESHOLDS)).astype(np.float64)),
            )
        )
    rows: dict[str, Row] = {name: tuple(total.tolist()) for name, total in sums.items()}
    rows |= {f"grounding_f1_{told}": counts.f1_sums for told, counts in links.items()}
    return Judgement(rows if phrases else {}, tuple(items))


def _most_likely(said: PredictedGrounding | None, row_of: dict[int, int]) -> list[int]:
    if said is None or not said.objects:
        return []
    best = max(said.scores)
    pairs = zip(said.objects, said.scores, strict=True)
    return [row_of[thing] for thing, score in pairs if score == best]


def _asserted(said: PredictedGrounding | None, row_of: dict[int, int]) -> list[int]:
    if said is None:
        return []
    pairs = zip(said.objects, said.scores, strict=True)
    return [row_of[thing] for thing, score in pairs if score >= ASSERTED]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0
