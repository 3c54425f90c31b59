"""Every property that docs/spq.md states, and panoptic quality as the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.metrics.spq import (
    NodeMatches,
    QualitySums,
    RelationRules,
    match_nodes,
    node_sums,
    relation_sums,
    spq_of_rows,
)
from g2vlm_fast.ontology import INVERSE, RELATIONS, SYMMETRIC_RELATIONS

LEFT, RIGHT, ON, NEAR, IN = (
    RELATIONS.index(name) for name in ("left of", "right of", "on", "near", "in")
)
RULES = RelationRules()
LESS_THAN_1 = 1 - 1e-6  # the overlap of a box with itself is 1 but for its last bits


def boxes(table: np.ndarray) -> Boxes:
    """Rows of low corner and size."""
    table = np.asarray(table, dtype=float).reshape(-1, 6)
    rotation = np.tile(np.eye(3), (len(table), 1, 1))
    return Boxes(table[:, :3] + table[:, 3:] / 2, table[:, 3:], rotation)


class Room:
    """A random room with a complete graph: directions, height order, nearness, nothing else."""

    def __init__(self, seed: int, count: int = 5) -> None:
        generator = np.random.default_rng(seed)
        low = np.stack([2.0 * np.arange(count), *generator.uniform(0, 2, (2, count))], 1)
        self.boxes = boxes(np.concatenate([low, generator.uniform(0.5, 1, (count, 3))], 1))
        self.classes = generator.integers(0, 3, count)
        self.pairs = np.argwhere(~np.eye(count, dtype=bool))
        self.labels = np.zeros((len(self.pairs), len(RELATIONS)), dtype=np.int8)
        for row, (s, o) in enumerate(self.pairs):
            self.labels[row, LEFT], self.labels[row, RIGHT] = s < o, s > o
            self.labels[row, NEAR] = abs(int(s) - int(o)) == 1

    def score(
        self,
        predicted: Boxes | None = None,
        classes: np.ndarray | None = None,
        pairs: np.ndarray | None = None,
        asserted: np.ndarray | None = None,
    ) -> QualitySums:
        """The truth, but for what is given."""
        matches = match_nodes(
            self.boxes if predicted is None else predicted,
            self.classes if classes is None else classes,
            self.boxes,
            self.classes,
        )
        return relation_sums(
            self.pairs if pairs is None else pairs,
            self.labels == 1 if asserted is None else asserted,
            matches,
            self.pairs,
            self.labels,
            len(self.classes),
        )

    def without(self, gone: int) -> tuple[Boxes, np.ndarray, np.ndarray, np.ndarray]:
        """The truth as a prediction that misses one object."""
        kept = np.flatnonzero(np.arange(len(self.classes)) != gone)
        rows = (self.pairs != gone).all(1)
        place = np.cumsum(np.arange(len(self.classes)) != gone) - 1
        asserted = self.labels[rows] == 1
        return self.boxes[kept], self.classes[kept], place[self.pairs[rows]], asserted


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.5), st.floats(0, 1))
def test_it_lies_between_0_and_1_and_is_the_product_of_sq_and_rq(
    seed: int, shift: float, density: float
) -> None:
    room, generator = Room(seed), np.random.default_rng(seed)
    moved = Boxes(room.boxes.center + shift, room.boxes.size, room.boxes.rotation)
    asserted = generator.random(room.labels.shape) < density
    sums = room.score(moved, asserted=asserted)
    present = ~np.isnan(sums.by_kind)
    assert ((sums.by_kind[present] >= 0) & (sums.by_kind[present] <= 1)).all()
    hit = sums.true_positive > 0
    assert sums.by_kind[hit] == pytest.approx((sums.segmentation * sums.recognition)[hit])
    assert (sums.segmentation[hit] > 0.25).all()
    assert sums.spq == pytest.approx(sums.by_kind[present].mean())


def test_it_is_1_for_the_truth_and_for_nothing_less() -> None:
    room = Room(0)
    assert room.score().spq == pytest.approx(1.0, abs=1e-12)
    for row, column in np.argwhere(room.labels == 1):
        asserted = room.labels == 1
        asserted[row, column] = False
        if column in (LEFT, RIGHT):  # the same is still said the other way round
            asserted[:, RIGHT if column == LEFT else LEFT] = False
        elif column == NEAR:
            s, o = room.pairs[row]
            asserted[(room.pairs == (o, s)).all(1), NEAR] = False
        assert room.score(asserted=asserted).spq < LESS_THAN_1
    for row, column in np.argwhere(room.labels == 0):
        asserted = room.labels == 1
        asserted[row, column] = True
        assert room.score(asserted=asserted).spq < LESS_THAN_1
    center = room.boxes.center.copy()
    center[2, 1] += 0.01
    assert room.score(Boxes(center, room.boxes.size, room.boxes.rotation)).spq < LESS_THAN_1
    classes = room.classes.copy()
    classes[1] += 1
    assert room.score(classes=classes).spq < LESS_THAN_1


def test_it_is_0_where_nothing_is_predicted_or_nothing_overlaps() -> None:
    room = Room(1)
    nothing = np.zeros((0, 2), dtype=np.int64)
    empty = room.score(
        boxes(np.zeros((0, 6))), np.zeros(0, int), nothing, np.zeros((0, len(RELATIONS)), bool)
    )
    assert empty.spq == 0.0
    assert empty.true.sum() == room.score().true.sum()
    far = Boxes(room.boxes.center + 50, room.boxes.size, room.boxes.rotation)
    assert room.score(far).spq == 0.0
    assert room.score(asserted=np.zeros_like(room.labels, dtype=bool)).spq == 0.0


def test_a_missing_object_loses_its_relations_alone() -> None:
    room = Room(2, count=4)
    sums = room.score(*room.without(0))
    left = RULES.canonical.index("left of")
    assert sums.true[left] == 6
    assert sums.true_positive[left] == sums.predicted[left] == 3
    assert sums.recognition[left] == pytest.approx(2 * 3 / (3 + 6))
    assert sums.segmentation[left] == pytest.approx(1.0)


def test_an_extra_object_costs_only_by_what_is_said_of_it() -> None:
    room = Room(3, count=4)
    ghost = Boxes(
        np.concatenate([room.boxes.center, [[90.0, 0, 0]]]),
        np.concatenate([room.boxes.size, [[1.0, 1, 1]]]),
        np.concatenate([room.boxes.rotation, np.eye(3)[None]]),
    )
    classes = np.append(room.classes, 0)
    assert room.score(ghost, classes).spq == pytest.approx(1.0, abs=1e-12)
    nodes = node_sums(
        match_nodes(ghost, classes, room.boxes, room.classes), classes, room.classes, 3
    )
    assert nodes.spq < 1.0
    pairs = np.concatenate([room.pairs, [[0, 4]]])
    said = np.zeros((1, len(RELATIONS)), dtype=bool)
    said[0, LEFT] = True
    louder = room.score(ghost, classes, pairs, np.concatenate([room.labels == 1, said]))
    left = RULES.canonical.index("left of")
    assert louder.by_kind[left] == pytest.approx(2 * 6 / (7 + 6))


def test_two_objects_merged_into_one_count_for_one_at_most() -> None:
    table = [[0, 0, 0, 1, 1, 1], [1, 0, 0, 1, 1, 1], [5, 0, 0, 1, 1, 1]]
    truth, classes = boxes(table), np.zeros(3, int)
    merged = boxes([[0, 0, 0, 2, 1, 1], table[2]])
    matches = match_nodes(merged, classes[:2], truth, classes)
    assert (matches.means >= 0).all()
    assert matches.iou.tolist() == pytest.approx([0.5, 1.0])
    labels = np.zeros((3, len(RELATIONS)), dtype=np.int8)
    labels[:, LEFT] = 1
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    sums = relation_sums(np.array([[0, 1]]), labels[:1] == 1, matches, pairs, labels, 3)
    assert sums.spq == pytest.approx(math.sqrt(0.5) * 2 / (1 + 3))
    assert match_nodes(merged, classes[:2], truth, classes, threshold=0.5).means[0] == -1


def test_the_same_said_twice_counts_once() -> None:
    room = Room(4)
    whole = room.score()
    for silent in (RIGHT, LEFT):
        asserted = room.labels == 1
        asserted[:, silent] = False
        assert np.array_equal(room.score(asserted=asserted).row, whole.row)
    asserted = room.labels == 1
    asserted[room.pairs[:, 0] > room.pairs[:, 1], NEAR] = False
    assert np.array_equal(room.score(asserted=asserted).row, whole.row)
    assert len(RULES.canonical) == len(RELATIONS) - len(INVERSE) / 2
    assert set(SYMMETRIC_RELATIONS) <= set(RULES.canonical)


def test_what_follows_from_support_is_neither_rewarded_nor_punished() -> None:
    pairs = np.array([[0, 1], [1, 2], [0, 2]])
    labels = np.zeros((3, len(RELATIONS)), dtype=np.int8)
    labels[:2, ON] = 1
    listed = labels.copy()
    listed[2, ON] = 1
    given_nodes = NodeMatches.given(3)
    for truth in (labels, listed):
        for said in (labels, listed):
            sums = relation_sums(pairs, said == 1, given_nodes, pairs, truth, 3)
            assert sums.spq == 1.0
            assert sums.true.sum() == sums.predicted.sum() == 2
    circle = np.array([[0, 1], [1, 0]])
    both = np.zeros((2, len(RELATIONS)), dtype=np.int8)
    both[:, ON] = 1
    assert relation_sums(circle, both == 1, NodeMatches.given(2), circle, both, 2).true.sum() == 2


@pytest.mark.parametrize("first", [IN, ON], ids=["in", "on"])
def test_what_follows_from_containers_is_neither_rewarded_nor_punished(first: int) -> None:
    pairs = np.array([[0, 1], [1, 2], [2, 3], [0, 2], [1, 3], [0, 3]])
    labels = np.zeros((6, len(RELATIONS)), dtype=np.int8)
    labels[0, first] = labels[1:3, IN] = 1
    listed = labels.copy()
    listed[3:, IN] = 1
    given_nodes = NodeMatches.given(4)
    for truth in (labels, listed):
        for said in (labels, listed):
            sums = relation_sums(pairs, said == 1, given_nodes, pairs, truth, 4)
            assert sums.spq == 1.0
            assert sums.true.sum() == sums.predicted.sum() == 3


def test_what_stands_on_something_does_not_stand_on_what_that_is_in() -> None:
    pairs = np.array([[0, 1], [1, 2], [0, 2]])
    labels = np.zeros((3, len(RELATIONS)), dtype=np.int8)
    labels[0, IN] = labels[1, ON] = 1
    for column in (IN, ON):
        said = labels.copy()
        said[2, column] = 1
        sums = relation_sums(pairs, said == 1, NodeMatches.given(3), pairs, labels, 3)
        assert sums.predicted.sum() == 3


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.4))
def test_of_any_graph_what_remains_implies_what_was_left_out(seed: int, density: float) -> None:
    generator = np.random.default_rng(seed)
    names, count = RULES.canonical, 6
    labels = (generator.random((count, count, len(names))) < density).astype(np.int8)
    labels[np.arange(count), np.arange(count)] = 0
    kept = RULES.leave_out_implied(labels)
    on, within = names.index("on"), names.index("in")
    assert (
        kept[..., [c for c in range(len(names)) if c not in (on, within)]]
        == labels[..., [c for c in range(len(names)) if c not in (on, within)]]
    ).all()

    def implied(graph: np.ndarray) -> np.ndarray:
        """All pairs of "on" and "in" that follow from a graph, by following every path."""
        found = np.zeros((2, count, count), dtype=bool)
        for start in range(count):
            for column, through in ((on, (on,)), (within, (on, within))):
                seen, ways = {start}, [start]
                while ways:
                    here = ways.pop()
                    found[int(column == within), start] |= graph[here, :, column] == 1
                    for there in range(count):
                        if there not in seen and (graph[here, there, list(through)] == 1).any():
                            seen.add(there)
                            ways.append(there)
        return found

    assert (implied(kept) == implied(labels)).all()


def test_undecided_relations_change_nothing() -> None:
    room = Room(5)
    room.labels[:, ON] = -1
    asserted = room.labels == 1
    asserted[:, ON] = True
    assert room.score(asserted=asserted).spq == room.score().spq == pytest.approx(1.0)


def test_with_true_nodes_it_is_the_f1_of_triplets() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle of F1")
    rules = RelationRules(relations=("in", "facing"), inverse=(), symmetric=(), transitive=())
    generator = np.random.default_rng(0)
    pairs = np.argwhere(~np.eye(6, dtype=bool))
    labels, said = generator.integers(0, 2, (2, len(pairs), 2)).astype(np.int8)
    sums = relation_sums(pairs, said == 1, NodeMatches.given(6), pairs, labels, 6, rules=rules)
    expected = metrics.f1_score(labels, said, average="macro")
    assert sums.spq == pytest.approx(expected)
    assert sums.segmentation.tolist() == [1.0, 1.0]


def test_nodes_agree_with_panoptic_quality_of_torchmetrics() -> None:
    functional = pytest.importorskip(
        "torchmetrics.functional.detection", reason="torchmetrics is the oracle of panoptic quality"
    )
    import torch

    generator = np.random.default_rng(0)
    for _ in range(5):
        slots = np.stack([6 * np.arange(6), np.zeros(6), np.zeros(6)], 1)
        true_table = np.concatenate([slots, generator.integers(2, 6, (6, 3))], 1)
        moved = np.concatenate(
            [slots, np.clip(true_table[:, 3:] + generator.integers(-1, 2, (6, 3)), 1, 5)], 1
        )
        true_classes = generator.integers(0, 3, 6)
        classes = np.where(generator.random(6) < 0.3, generator.integers(0, 3, 6), true_classes)
        maps = [np.zeros((36, 6, 6, 2), dtype=np.int64) for _ in range(2)]
        for grid, table, kinds in zip(
            maps, (moved, true_table), (classes, true_classes), strict=True
        ):
            for number, (box, kind) in enumerate(zip(table, kinds, strict=True)):
                x, y, z = (slice(int(a), int(a + b)) for a, b in zip(box[:3], box[3:], strict=True))
                grid[x, y, z] = kind + 1, number + 1
        theirs = functional.panoptic_quality(
            torch.from_numpy(maps[0]).reshape(1, 36, 36, 2),
            torch.from_numpy(maps[1]).reshape(1, 36, 36, 2),
            things={1, 2, 3},
            stuffs={0},
            return_per_class=True,
        )
        matches = match_nodes(boxes(moved), classes, boxes(true_table), true_classes, threshold=0.5)
        ours = node_sums(matches, classes, true_classes, 3)
        expected = theirs.flatten()[:3].numpy()  # things come first
        assert np.nan_to_num(ours.by_kind) == pytest.approx(expected, abs=1e-6)


def test_the_mean_of_products_is_not_the_product_of_means() -> None:
    sums = QualitySums(
        np.array([1.0, 5.0]), np.array([2.0, 5.0]), np.array([8.0, 5]), np.array([8.0, 5])
    )
    assert sums.spq == pytest.approx((1 / 8 + 1.0) / 2)
    product = sums.segmentation.mean() * sums.recognition.mean()
    assert abs(sums.spq - product) > 0.05


def test_scenes_are_summed_before_the_ratio_is_taken() -> None:
    first, second = (
        Room(6).score(),
        Room(7).score(asserted=np.zeros_like(Room(7).labels, dtype=bool)),
    )
    both = first + second
    assert both.spq == pytest.approx(float(spq_of_rows(np.stack([first.row, second.row]).sum(0))))
    assert spq_of_rows(np.stack([first.row, second.row])).tolist() == pytest.approx([1.0, 0.0])
    assert 0 < both.spq < LESS_THAN_1


def test_an_empty_graph_is_undefined_and_a_word_too_many_is_0() -> None:
    pairs = np.array([[0, 1]])
    silent = np.zeros((1, len(RELATIONS)), dtype=np.int8)
    nodes = NodeMatches.given(2)
    assert math.isnan(relation_sums(pairs, silent == 1, nodes, pairs, silent, 2).spq)
    said = silent == 1
    said[0, ON] = True
    assert relation_sums(pairs, said, nodes, pairs, silent, 2).spq == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": np.array([[0, 1], [0, 1]])}, "twice"),
        ({"pairs": np.array([[0, 1], [0, 2]])}, "rows of 2 objects"),
        ({"pairs": np.array([[0, 0], [0, 1]])}, "itself"),
        ({"asserted": np.full((2, len(RELATIONS)), np.nan)}, "bool"),
        ({"asserted": np.zeros((2, 3), bool)}, "shape"),
        ({"matches": NodeMatches(np.array([0, 0]), np.ones(2))}, "at most once"),
        ({"matches": NodeMatches(np.array([0, 7]), np.ones(2))}, "at most once"),
        ({"true_pairs": np.array([[0, 5], [1, 0]])}, "rows of 2 objects"),
    ],
)
def test_bad_graphs_are_refused(change: dict, message: str) -> None:  # type: ignore[type-arg]
    good = {
        "pairs": np.array([[0, 1], [1, 0]]),
        "asserted": np.zeros((2, len(RELATIONS)), dtype=bool),
        "matches": NodeMatches.given(2),
        "true_pairs": np.array([[0, 1], [1, 0]]),
        "labels": np.zeros((2, len(RELATIONS)), dtype=np.int8),
        "true_objects": 2,
    }
    with pytest.raises(ValueError, match=message):
        relation_sums(**{**good, **change})


def test_classes_must_fit() -> None:
    room = Room(0)
    with pytest.raises(ValueError, match="predicted_classes"):
        match_nodes(room.boxes, room.classes[:2], room.boxes, room.classes)
    with pytest.raises(ValueError, match="0 to 1"):
        node_sums(NodeMatches.given(1), np.array([5]), np.array([0]), 2)
