"""Referring expressions: which box is meant, one box for each text or any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from g2vlm_fast.eval.metrics._arguments import Array, float_array, same_keys, thresholds_of
from g2vlm_fast.eval.metrics.boxes import Boxes, box_iou, match_boxes

THRESHOLDS = (0.25, 0.5)


@dataclass(frozen=True)
class Localisation:
    """Shares of texts whose box is close enough, over all texts and by group of texts.

    Attributes:
        accuracy: by threshold.
        by_group: by group (unique or multiple, easy or hard), then by threshold.
        texts: how many were scored, by group; ``sum`` of it is the denominator.
    """

    accuracy: dict[float, float]
    by_group: dict[str, dict[float, float]]
    texts: dict[str, int]


def localisation_accuracy(
    iou: ArrayLike, *, groups: Sequence[str] | None = None, thresholds: Sequence[float] = THRESHOLDS
) -> Localisation:
    """Acc@t: the share of texts whose predicted box has an IoU of at least t with the true one.

    ``>=``, as the code of ScanRefer has it, though papers print ``>``. Its boxes are those of
    the axes; here they may be turned (``boxes.box_iou``), which is stricter for turned objects.

    Args:
        iou: ``[n]`` of the one predicted box of each text; NaN where a text got no box, which
            fails and is counted.
        groups: of each text; None for one group called "all".
        thresholds: of IoU.

    Raises:
        ValueError: no texts, groups of another number, or an IoU outside of [0, 1].

    Source: Chen, Chang and Nießner, "ScanRefer", ECCV 2020.
    """
    function = "localisation_accuracy"
    values = float_array(function, "iou", iou, ("n",), finite=False)
    values = np.where(np.isnan(values), 0.0, values)
    if not values.size:
        raise ValueError(f"{function}: expected at least one text, got none")
    if ((values < 0) | (values > 1 + 1e-9)).any():
        raise ValueError(
            f"{function}: iou must lie in [0, 1], got {values.min()} to {values.max()}"
        )
    names = ["all"] * len(values) if groups is None else list(groups)
    if len(names) != len(values):
        raise ValueError(
            f"{function}: expected a group for each of {len(values)} texts, got {len(names)}"
        )
    thresholds = thresholds_of(function, thresholds)
    rows = {name: np.array([each == name for each in names]) for name in sorted(set(names))}
    return Localisation(
        {t: float((values >= t).mean()) for t in thresholds},
        {
            name: {t: float((values[row] >= t).mean()) for t in thresholds}
            for name, row in rows.items()
        },
        {name: int(row.sum()) for name, row in rows.items()},
    )


def several_boxes_f1(predicted: Boxes, truth: Boxes, *, threshold: float = 0.5) -> float:
    """F1 of the boxes of one text that may mean none, one or several objects.

    ``F1 = 2 TP / (predicted + true)``, TP the pairs of a one-to-one matching whose IoU is at
    least ``threshold``. The matching maximises the number of such pairs and then their IoU.
    A text that means nothing scores 1 if nothing is predicted, else 0.

    Known variant: the code of the benchmark matches by the sum of IoU over all pairs, which can
    lose a pair above the threshold; ours is never lower.

    Source: Zhang, Gong and Chang, "Multi3DRefer", ICCV 2023.
    """
    (threshold,) = thresholds_of("several_boxes_f1", [threshold])
    if not len(truth):
        return float(not len(predicted))
    if not len(predicted):
        return 0.0
    iou = box_iou(predicted, truth)
    hits = match_boxes(np.where(iou >= threshold, 10 + iou, 0.0), threshold=threshold)
    return 2 * len(hits) / (len(predicted) + len(truth))


def multi_reference_f1(
    predicted: Mapping[str, Boxes], truth: Mapping[str, Boxes], *, threshold: float = 0.5
) -> Array:
    """Return :func:`several_boxes_f1` of every text, in the order of ``truth``; report the mean.

    Raises:
        ValueError: a text without a prediction, or a prediction of an unknown text. A text for
            which a system finds nothing has no boxes, and an entry all the same.
    """
    same_keys("multi_reference_f1", list(predicted), list(truth))
    scores = [several_boxes_f1(predicted[key], truth[key], threshold=threshold) for key in truth]
    return np.array(scores)
