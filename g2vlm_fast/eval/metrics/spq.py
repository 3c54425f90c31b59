"""Spatial Panoptic Quality (SPQ): how much of a scene graph is right, and how well it is placed.

``docs/spq.md`` has the definition and its properties. In short, for one predicate,

    SPQ = sum of q over the true positives / (TP + FP / 2 + FN / 2) = SQ x RQ,

where a predicted relation is a true positive if both of its ends are matched to true objects
between which it holds, and ``q = sqrt(IoU_subject IoU_object)``. SPQ is the mean over predicates.
The form is that of Kirillov et al., "Panoptic segmentation", CVPR 2019, with relations in place
of segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.eval.metrics._arguments import Array
from g2vlm_fast.eval.metrics.boxes import Boxes, box_iou, match_boxes
from g2vlm_fast.ontology import INVERSE, RELATIONS, SYMMETRIC_RELATIONS

THRESHOLD = 0.25
"""Box IoU that a match must exceed in the headline number; 0.5 is reported beside it."""

TRANSITIVE_RELATIONS = ("on", "in")
"""What a statement implies of these is never scored: a lamp on a desk on a rug is on the rug."""

INHERITED_RELATIONS = (("on", "in"),)
"""(carrier, relation): a cup on a box in a cabinet is in the cabinet, and that is not scored."""


@dataclass(frozen=True)
class QualitySums:
    """Sums by kind (class or predicate), ``[C]`` each, which add over scenes.

    Attributes:
        quality: sum of the qualities of the true positives.
        true_positive: how many these are.
        predicted: how many were predicted and are scored.
        true: how many there are.
    """

    quality: Array
    true_positive: Array
    predicted: Array
    true: Array

    def __add__(self, other: QualitySums) -> QualitySums:
        return QualitySums.of_row(self.row + other.row)

    @property
    def row(self) -> Array:
        """The four sums as one row ``[4 C]``, for resampling by scene."""
        return np.concatenate([self.quality, self.true_positive, self.predicted, self.true])

    @classmethod
    def of_row(cls, row: Array) -> QualitySums:
        """Return the sums that :attr:`row` gave."""
        return cls(*np.split(row, 4))

    @property
    def recognition(self) -> Array:
        """RQ ``[C]``: ``TP / (TP + FP / 2 + FN / 2)``, the F1; NaN for kinds nowhere present."""
        return _ratio(2 * self.true_positive, self.predicted + self.true)

    @property
    def segmentation(self) -> Array:
        """SQ ``[C]``: mean quality of the true positives; NaN for kinds without any."""
        return _ratio(self.quality, self.true_positive)

    @property
    def by_kind(self) -> Array:
        """SPQ ``[C]`` = SQ x RQ; 0 for kinds without a true positive, NaN for absent ones."""
        return _ratio(2 * self.quality, self.predicted + self.true)

    @property
    def spq(self) -> float:
        """Mean of :attr:`by_kind` over kinds that are true or predicted anywhere; NaN for none.

        It is the mean of products, so it is not the product of the mean SQ and the mean RQ.
        """
        return float(spq_of_rows(self.row))


def spq_of_rows(rows: Array) -> Array:
    """Return SPQ ``[...]`` of summed rows ``[..., 4 C]``: the statistic of a bootstrap by scene."""
    quality, _, predicted, true = np.split(rows, 4, axis=-1)
    by_kind = _ratio(2 * quality, predicted + true)
    present = ~np.isnan(by_kind)
    return _ratio(np.where(present, by_kind, 0.0).sum(-1), present.sum(-1).astype(np.float64))


@dataclass(frozen=True)
class NodeMatches:
    """Which true object each predicted one is, and how well it is placed.

    Attributes:
        means: ``[K]``, a row of the truth or -1; no row twice.
        iou: ``[K]`` of the matched boxes, 0 where there is none.
    """

    means: NDArray[np.int64]
    iou: Array

    @classmethod
    def given(cls, count: int) -> NodeMatches:
        """Return the matches of the ground-truth-node mode: the true objects, exactly placed."""
        return cls(np.arange(count), np.ones(count))


def match_nodes(
    predicted: Boxes,
    predicted_classes: NDArray[np.int64],
    truth: Boxes,
    true_classes: NDArray[np.int64],
    *,
    threshold: float = THRESHOLD,
) -> NodeMatches:
    """Match objects of equal class whose box IoU exceeds ``threshold``, one to one.

    The assignment has the greatest sum of IoU, which is the one that maximises SPQ_node of each
    class (the denominator does not depend on the matching). Above 1/2 and without overlap among
    the boxes of a side it is the only possible one, as in panoptic quality.

    Raises:
        ValueError: classes that do not fit the boxes.
    """
    for name, classes, boxes in (
        ("predicted_classes", predicted_classes, predicted),
        ("true_classes", true_classes, truth),
    ):
        if len(classes) != len(boxes):
            raise ValueError(
                f"match_nodes: expected {name} of {len(boxes)} boxes, got {len(classes)}"
            )
    iou = box_iou(predicted, truth)
    same = np.asarray(predicted_classes)[:, None] == np.asarray(true_classes)[None]
    means, quality = np.full(len(predicted), -1, dtype=np.int64), np.zeros(len(predicted))
    for i, j in match_boxes(np.where(same & (iou > threshold), iou, 0.0), threshold=0.0):
        means[i], quality[i] = j, iou[i, j]
    return NodeMatches(means, quality)


def node_sums(
    matches: NodeMatches,
    predicted_classes: NDArray[np.int64],
    true_classes: NDArray[np.int64],
    num_classes: int,
) -> QualitySums:
    """Return the sums of SPQ_node of one scene, by class."""
    hit = matches.means >= 0
    classes = np.asarray(predicted_classes)
    return QualitySums(
        _count(classes[hit], num_classes, matches.iou[hit]),
        _count(classes[hit], num_classes),
        _count(classes, num_classes),
        _count(np.asarray(true_classes), num_classes),
    )


@dataclass(frozen=True)
class RelationRules:
    """How relations say the same thing twice.

    Attributes:
        relations: names, in the order of the columns of labels.
        inverse: names of relations that hold the other way round; each pair is counted once,
            under the name that comes first in ``relations``.
        symmetric: relations without a direction, counted once for a pair of objects.
        transitive: relations of which what follows from others is not scored.
        inherited: pairs (carrier, relation): who stands in the first to something shares the
            second, which is transitive, with it; what follows from that is not scored either.
    """

    relations: Sequence[str] = RELATIONS
    inverse: tuple[tuple[str, str], ...] = tuple(sorted(INVERSE.items()))
    symmetric: tuple[str, ...] = SYMMETRIC_RELATIONS
    transitive: tuple[str, ...] = TRANSITIVE_RELATIONS
    inherited: tuple[tuple[str, str], ...] = INHERITED_RELATIONS

    @property
    def canonical(self) -> tuple[str, ...]:
        """The predicates that are counted, in order."""
        return tuple(name for name in self.relations if self._first(name) == name)

    def _first(self, name: str) -> str:
        other = dict(self.inverse).get(name, name)
        order = list(self.relations)
        return other if other in order and order.index(other) < order.index(name) else name

    def dense(
        self, function: str, pairs: NDArray[np.int64], values: NDArray[np.int8], count: int
    ) -> NDArray[np.int8]:
        """Return canonical labels ``[count, count, C]``: 1 if said in either form, else -1 if
        undecided in either, else 0; symmetric ones above the diagonal alone."""
        if values.shape != (len(pairs), len(self.relations)):
            raise ValueError(
                f"{function}: labels must have shape [{len(pairs)}, {len(self.relations)}], got "
                f"{list(values.shape)}"
            )
        if len(pairs) and not 0 <= pairs.min() <= pairs.max() < count:
            raise ValueError(
                f"{function}: pairs must name rows of {count} objects, got {pairs.min()} to "
                f"{pairs.max()}"
            )
        if len(np.unique(pairs, axis=0)) != len(pairs):
            raise ValueError(f"{function}: pairs must differ, but one comes twice; merge them")
        if (pairs[:, 0] == pairs[:, 1]).any():
            raise ValueError(f"{function}: an object has no relation to itself")
        names = self.canonical
        labels = np.zeros((count, count, len(names)), dtype=np.int8)
        for column, name in enumerate(self.relations):
            first = self._first(name)
            ends = pairs if first == name else pairs[:, ::-1]
            if first in self.symmetric:
                ends = np.sort(ends, axis=1)
            for (s, o), value in zip(ends, values[:, column], strict=True):
                place = (s, o, names.index(first))
                labels[place] = value if labels[place] == 0 or value == 1 else labels[place]
        return labels

    def leave_out_implied(self, labels: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return labels in which what follows from true transitive relations is undecided."""
        names, holds = self.canonical, labels == 1
        labels = labels.copy()
        for name in (each for each in self.transitive if each in names):
            column = names.index(name)
            carriers = {name, *(carrier for carrier, heir in self.inherited if heir == name)}
            carried = holds[..., [names.index(each) for each in names if each in carriers]].any(-1)
            reach = _closure(carried)
            onward = holds[..., column] | (reach @ holds[..., column])
            beyond = np.zeros_like(reach)
            for s, b in np.argwhere(carried & ~reach.T):
                beyond[s] |= onward[b] & ~reach[:, b]  # not along a circle
            labels[..., column] = np.where(beyond, -1, labels[..., column])
        return labels


def relation_sums(
    pairs: NDArray[np.int64],
    asserted: NDArray[np.bool_],
    matches: NodeMatches,
    true_pairs: NDArray[np.int64],
    labels: NDArray[np.int8],
    true_objects: int,
    *,
    rules: RelationRules | None = None,
) -> QualitySums:
    """Return the sums of SPQ_rel of one scene, by canonical predicate.

    Args:
        pairs: ``[P, 2]``, (subject, object) among the predicted objects.
        asserted: ``[P, R]`` bool.
        matches: of the predicted objects; :meth:`NodeMatches.given` for the ground-truth-node
            mode, in which SPQ_rel is the F1 of triplets, mean over predicates.
        true_pairs: ``[T, 2]`` among the true objects; pairs that are not listed have no relation.
        labels: ``[T, R]``: 1 holds, 0 does not, -1 undecided (never scored).
        true_objects: how many there are.
        rules: of the ontology of rooms by default.

    Raises:
        ValueError: shapes do not fit, a pair comes twice, or names an unknown object.
    """
    rules = rules or RelationRules()
    function, count = "relation_sums", len(matches.means)
    if asserted.dtype != np.bool_:
        raise ValueError(f"{function}: asserted must be bool, got {asserted.dtype}; threshold it")
    matched = matches.means[matches.means >= 0]
    if len(np.unique(matched)) != len(matched) or (matched >= true_objects).any():
        raise ValueError(f"{function}: matches must name each of the true objects at most once")
    said = rules.dense(function, pairs, asserted.astype(np.int8), count) == 1
    truth = rules.leave_out_implied(
        rules.dense(function, true_pairs, labels.astype(np.int8), true_objects)
    )
    known = np.zeros(said.shape, dtype=np.int8)
    found = np.flatnonzero(matches.means >= 0)
    ends = matches.means[found]
    known[np.ix_(found, found)] = _with_both_directions(truth, rules)[np.ix_(ends, ends)]
    right, scored = said & (known == 1), said & (known != -1)
    quality = np.sqrt(np.outer(matches.iou, matches.iou))
    return QualitySums(
        (right * quality[..., None]).sum((0, 1)),
        right.sum((0, 1)).astype(np.float64),
        scored.sum((0, 1)).astype(np.float64),
        (truth == 1).sum((0, 1)).astype(np.float64),
    )


def _closure(links: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return ``[K, K]`` whether one or more links lead from one to the other."""
    reach = links.copy()
    for between in range(len(reach)):
        reach |= np.outer(reach[:, between], reach[between])
    return reach


def _with_both_directions(truth: NDArray[np.int8], rules: RelationRules) -> NDArray[np.int8]:
    """Return labels in which symmetric relations stand on both sides of the diagonal."""
    both = truth.copy()
    for column, name in enumerate(rules.canonical):
        if name in rules.symmetric:
            upper = truth[..., column]
            both[..., column] = np.where(upper != 0, upper, upper.T)
    return both


def _count(kinds: NDArray[np.int64], num: int, weights: Array | None = None) -> Array:
    if len(kinds) and not 0 <= kinds.min() <= kinds.max() < num:
        raise ValueError(
            f"node_sums: classes must lie in 0 to {num - 1}, got {kinds.min()} to {kinds.max()}"
        )
    return np.bincount(kinds, weights, minlength=num).astype(np.float64)


def _ratio(numerator: Array, denominator: Array) -> Array:
    defined = denominator > 0
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)
