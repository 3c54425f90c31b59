"""Scores of objects and relations of one scene, by hand and against the metrics of a set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scored_rooms import room_case, truth_as_prediction

from g2vlm_fast.data.interchange import PredictedObject, PredictedRelation, ScenePrediction
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.metrics.spq import QualitySums, relation_sums
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring import given_objects, objects, relations, score_named
from g2vlm_fast.eval.scoring.nodes import KINDS, OTHER, Nodes, class_numbers, predicted_boxes
from g2vlm_fast.eval.scoring.triplets import PREDICATES
from g2vlm_fast.ontology import CLASSES, INVERSE, RELATIONS, SYMMETRIC_RELATIONS

CHAIR, TABLE, LAMP = range(3)
NAMES = ("chair", "table", "lamp")
PLACES = ((0.0, 0.0, 0.5), (2.0, 0.0, 0.5), (2.0, 0.0, 1.5))


def thing(row: int, *, id: int | None = None, **changes: object) -> PredictedObject:
    one = PredictedObject(
        id=row if id is None else id, class_name=NAMES[row], center=PLACES[row], size=(1, 1, 1)
    )
    return dataclasses.replace(one, **changes)


def case_of(
    *triplets: tuple[int, str, int], undecided: Sequence[tuple[int, str, int]] = ()
) -> Case:
    """A chair, a table and a lamp on it, with the relations that are named and their inverses."""
    labels = np.zeros((3, 3, len(RELATIONS)), dtype=np.int8)
    for value, named in ((1, triplets), (-1, undecided)):
        for subject, name, other in named:
            labels[subject, other, RELATIONS.index(name)] = value
            if name in SYMMETRIC_RELATIONS:
                labels[other, subject, RELATIONS.index(name)] = value
            if name in INVERSE:
                labels[other, subject, RELATIONS.index(INVERSE[name])] = value
    boxes = Boxes(np.array(PLACES), np.ones((3, 3)), np.tile(np.eye(3), (3, 1, 1)))
    return Case(
        name="s", given=None, graph=GraphTruth(boxes=boxes, class_names=NAMES, relations=labels)
    )


def said(
    *triplets: tuple[int, str, int], things: Sequence[PredictedObject] | None = None
) -> ScenePrediction:
    every = tuple(thing(row) for row in range(3)) if things is None else tuple(things)
    return ScenePrediction(
        scene="s",
        system="test",
        objects=every,
        relations=tuple(
            PredictedRelation(subject=subject, object=other, name=name)
            for subject, name, other in triplets
        ),
    )


def object_rows(prediction: ScenePrediction) -> dict[str, Row]:
    return objects.judge(case_of(), prediction).rows


def given_values(case: Case, prediction: ScenePrediction) -> dict[str, float]:
    rows = given_objects.judge(case, prediction).rows
    return {name: float(score_named(name).statistic(np.array(row))) for name, row in rows.items()}


def relation_values(case: Case, prediction: ScenePrediction) -> dict[str, float]:
    rows = relations.judge(case, prediction).rows
    return {name: float(score_named(name).statistic(np.array(row))) for name, row in rows.items()}


def test_detections_count_what_is_right_said_and_true() -> None:
    moved = thing(TABLE, center=(2.5, 0, 0.5))  # IoU 1/3
    rows = object_rows(said(things=[thing(CHAIR), moved]))
    assert rows["object_f1_25"] == (4.0, 5.0)
    assert rows["object_f1_50"] == (2.0, 5.0)


def test_a_wrong_class_is_no_detection_and_a_second_one_is_wrong() -> None:
    assert object_rows(said(things=[thing(CHAIR, class_name="table")]))["object_f1_25"] == (0, 4)
    twice = [thing(CHAIR), thing(CHAIR, id=9, center=(0.05, 0, 0.5))]
    assert object_rows(said(things=twice))["object_f1_25"] == (2.0, 5.0)


def test_panoptic_quality_of_boxes_is_the_mean_over_classes() -> None:
    moved = thing(TABLE, center=(2.5, 0, 0.5))
    row = np.array(object_rows(said(things=[thing(CHAIR), moved]))["spq_node_25"])
    score = score_named("spq_node_25")
    assert float(score.statistic(row)) == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert float(score.items(row)) == 3


def test_a_class_that_the_ontology_lacks_counts_and_matches_by_its_name() -> None:
    assert class_numbers(["lamp", "unicorn"]).tolist() == [CLASSES.index("lamp"), OTHER]
    wrong = object_rows(said(things=[thing(CHAIR, class_name="unicorn")]))
    assert wrong["object_f1_25"] == (0.0, 4.0)
    assert len(wrong["spq_node_25"]) == 4 * KINDS
    case = case_of()
    assert case.graph is not None
    exotic = dataclasses.replace(case.graph, class_names=("unicorn", "yeti", "yeti"))
    exotic_case = dataclasses.replace(case, graph=exotic)
    right = [thing(CHAIR, class_name="unicorn"), thing(TABLE, class_name="unicorn")]
    rows = objects.judge(exotic_case, said(things=right)).rows
    assert rows["object_f1_25"] == (2.0, 5.0)


def test_a_tilted_box_becomes_the_upright_box_around_it() -> None:
    cosine, sine = math.cos(math.radians(30)), math.sin(math.radians(30))
    about_x = ((1, 0, 0), (0, cosine, -sine), (0, sine, cosine))
    lying = ((0, 0, 1), (1, 0, 0), (0, 1, 0))  # its axes are the world's y, z and x
    tilted = (
        thing(CHAIR, size=(1, 2, 3), rotation=about_x),
        thing(TABLE, size=(1, 2, 3), rotation=lying),
    )
    boxes = predicted_boxes(tilted)
    assert boxes.size[0] == pytest.approx([1, 2 * cosine + 3 * sine, 2 * sine + 3 * cosine])
    along_world = abs(boxes.rotation[1]) @ boxes.size[1]
    assert along_world == pytest.approx([3, 1, 2])


def test_upright_boxes_stay_as_they_are() -> None:
    cosine, sine = math.cos(0.3), math.sin(0.3)
    turned = thing(
        CHAIR, size=(1, 2, 3), rotation=((cosine, -sine, 0), (sine, cosine, 0), (0, 0, 1))
    )
    boxes = predicted_boxes((turned,))
    assert boxes.size.tolist() == [[1, 2, 3]]
    assert boxes.rotation[0].tolist() == [list(axis) for axis in turned.rotation]


def test_relations_in_either_form_are_right_and_count_once() -> None:
    case = case_of((CHAIR, "left of", TABLE), (CHAIR, "near", TABLE))
    forms = [
        said((CHAIR, "left of", TABLE), (CHAIR, "near", TABLE)),
        said((TABLE, "right of", CHAIR), (TABLE, "near", CHAIR)),
        said((CHAIR, "left of", TABLE), (TABLE, "right of", CHAIR), (CHAIR, "left of", TABLE),
             (TABLE, "near", CHAIR), (CHAIR, "near", TABLE)),
    ]  # fmt: skip
    for form in forms:
        values = relation_values(case, form)
        for name in ("spq", "spq_50", "triplet_f1", "graph_exact", "triplet_recall_20",
                     "triplet_mean_recall_100", "spq_segmentation", "spq_recognition"):  # fmt: skip
            assert values[name] == 1.0, name


def test_a_wrong_relation_costs_and_an_undecided_one_does_not() -> None:
    case = case_of((CHAIR, "left of", TABLE), undecided=[(CHAIR, "near", TABLE)])
    right = (CHAIR, "left of", TABLE)
    undecided = relation_values(case, said(right, (TABLE, "near", CHAIR)))
    assert undecided["triplet_f1"] == undecided["spq"] == undecided["graph_exact"] == 1.0
    wrong = relation_values(case, said(right, (TABLE, "near", LAMP)))
    assert wrong["triplet_f1"] == pytest.approx(2 / 3)
    assert wrong["spq"] == 0.5
    assert wrong["graph_exact"] == 0.0


def test_unknown_relations_and_those_to_oneself_are_wrong_ones() -> None:
    case = case_of((CHAIR, "left of", TABLE))
    right = (CHAIR, "left of", TABLE)
    for extra in [(CHAIR, "adores", TABLE), (CHAIR, "near", CHAIR)]:
        values = relation_values(case, said(right, extra, extra))
        assert values["triplet_f1"] == pytest.approx(2 / 3), extra
        assert values["spq"] == 0.5, extra
        assert values["triplet_recall_20"] == 1.0, extra


def test_what_others_imply_is_not_scored() -> None:
    case = case_of((LAMP, "on", TABLE), (TABLE, "on", CHAIR), (LAMP, "on", CHAIR))
    sparse = relation_values(case, said((LAMP, "on", TABLE), (TABLE, "on", CHAIR)))
    complete = relation_values(
        case, said((LAMP, "on", TABLE), (TABLE, "on", CHAIR), (LAMP, "on", CHAIR))
    )
    assert sparse == complete
    assert sparse["triplet_f1"] == sparse["triplet_recall_20"] == 1.0


def test_what_containers_in_containers_imply_is_not_scored() -> None:
    chain = (LAMP, "in", TABLE), (TABLE, "in", CHAIR)
    carried = (LAMP, "on", TABLE), (TABLE, "in", CHAIR)
    implied = (LAMP, "in", CHAIR)
    for stated in (chain, carried):
        case = case_of(*stated, implied)
        sparse, complete = (
            relation_values(case, said(*stated)),
            relation_values(case, said(*stated, implied)),
        )
        assert sparse == complete
        assert sparse["spq"] == sparse["triplet_f1"] == sparse["triplet_recall_20"] == 1.0
    inside_of_what_stands = case_of((LAMP, "in", TABLE), (TABLE, "on", CHAIR))
    wrong = said((LAMP, "in", TABLE), (TABLE, "on", CHAIR), (LAMP, "in", CHAIR))
    assert relation_values(inside_of_what_stands, wrong)["triplet_f1"] == pytest.approx(4 / 5)


def test_relations_of_given_objects_do_not_depend_on_where_a_system_would_have_found_them() -> None:
    case = case_of((CHAIR, "left of", TABLE), (LAMP, "on", TABLE))
    half = said((CHAIR, "left of", TABLE), (CHAIR, "near", LAMP))
    values = given_values(case, half)
    assert values["triplet_f1_given_objects"] == 0.5
    assert values["spq_given_objects"] == pytest.approx(1 / 3)  # left of: 1, on: 0, near: 0
    rounded = [thing(row, size=(1.0001, 1, 1)) for row in range(3)]
    assert given_values(case, dataclasses.replace(half, objects=tuple(rounded))) == values


def test_whoever_moves_a_given_object_loses_its_relations() -> None:
    case = case_of((CHAIR, "left of", TABLE), (LAMP, "on", TABLE))
    both = (CHAIR, "left of", TABLE), (LAMP, "on", TABLE)
    assert given_values(case, said(*both))["spq_given_objects"] == 1.0
    for change in ({"center": (0.1, 0, 0.5)}, {"class_name": "lamp"}):
        moved = [thing(CHAIR, **change), thing(TABLE), thing(LAMP)]
        values = given_values(case, said(*both, things=moved))
        assert values["spq_given_objects"] == 0.5
        assert values["triplet_f1_given_objects"] == 0.5
    silent = ScenePrediction(scene="s", system="test")
    assert set(given_values(case, silent).values()) == {0.0}


def test_objects_that_are_not_found_lose_their_relations() -> None:
    case = case_of((CHAIR, "left of", TABLE), (LAMP, "on", TABLE))
    values = relation_values(case, said((0, "left of", 1), things=[thing(CHAIR), thing(TABLE)]))
    assert values["triplet_f1"] == pytest.approx(2 / 3)
    assert values["triplet_recall_20"] == 0.5
    assert values["spq"] == 0.5
    assert values["spq_segmentation"] == 0.5, "a predicate without a hit has quality 0"


def test_ranked_recall_goes_by_the_scores_of_relation_and_objects() -> None:
    case = case_of((CHAIR, "left of", TABLE))
    truth = PredictedRelation(subject=0, object=1, name="left of", score=0.5)
    wrong = tuple(
        PredictedRelation(subject=first, object=second, name=name, score=0.6)
        for first in range(3)
        for second in range(3)
        for name in RELATIONS
        if first != second and name not in ("left of", "right of")
    )
    prediction = dataclasses.replace(said(), relations=(truth, *wrong))
    assert relation_values(case, prediction)["triplet_recall_20"] == 0.0
    unsure = tuple(thing(row, score=0.1 if row == LAMP else 1.0) for row in range(3))
    surer = dataclasses.replace(
        said(things=unsure),
        relations=(
            dataclasses.replace(truth, score=0.5),
            *(each for each in wrong if LAMP in (each.subject, each.object)),
        ),
    )
    assert relation_values(case, surer)["triplet_recall_20"] == 1.0


def test_relations_of_equal_score_share_their_places() -> None:
    case = case_of((CHAIR, "left of", TABLE))
    names = [name for name in RELATIONS if name in PREDICATES]
    every = [(a, name, b) for a in range(3) for b in range(3) for name in names if a != b]
    values = relation_values(case, said(*every))
    symmetric = sum(name in SYMMETRIC_RELATIONS for name in names)
    count = 6 * len(names) - 3 * symmetric
    assert values["triplet_recall_20"] == pytest.approx(20 / count)


def test_mean_recall_is_over_scenes_and_then_over_predicates() -> None:
    first = case_of((CHAIR, "left of", TABLE), (LAMP, "on", TABLE))
    second = case_of((CHAIR, "left of", TABLE))
    rows = [
        relations.judge(first, said((CHAIR, "left of", TABLE))).rows,
        relations.judge(second, said()).rows,
    ]
    total = np.sum([row["triplet_mean_recall_20"] for row in rows], axis=0)
    score = score_named("triplet_mean_recall_20")
    assert float(score.statistic(total)) == pytest.approx((1 / 2 + 0) / 2)
    assert float(score.items(total)) == 3


def test_recall_of_a_room_that_is_known_is_what_fits_into_the_list() -> None:
    case = room_case()
    values = relation_values(case, truth_as_prediction(case))
    row = np.array(relations.judge(case, truth_as_prediction(case)).rows["spq"])
    true = float(score_named("spq").items(row))
    for k in relations.KS:
        assert values[f"triplet_recall_{k}"] == pytest.approx(min(1.0, k / true))


def test_empty_graphs() -> None:
    empty = dataclasses.replace(
        case_of(),
        graph=GraphTruth(
            boxes=Boxes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3, 3))),
            class_names=(),
            relations=np.zeros((0, 0, len(RELATIONS)), dtype=np.int8),
        ),
    )
    silent = ScenePrediction(scene="s", system="test")
    assert relations.judge(empty, silent).rows["graph_exact"] == (1.0, 1.0)
    assert objects.judge(empty, silent).rows["object_f1_25"] == (0.0, 0.0)
    noisy = said((CHAIR, "near", TABLE))
    assert relations.judge(empty, noisy).rows["graph_exact"] == (0.0, 1.0)
    assert relations.judge(empty, noisy).rows["triplet_f1"] == (0.0, 1.0)
    assert objects.judge(empty, noisy).rows["object_f1_25"] == (0.0, 3.0)
    nothing_said = relation_values(case_of((CHAIR, "near", TABLE)), silent)
    assert set(nothing_said.values()) == {0.0}


def test_of_two_equal_boxes_the_same_one_is_matched_however_they_are_listed() -> None:
    case = case_of((CHAIR, "left of", TABLE))
    twins = [thing(CHAIR, id=7, score=0.4), thing(CHAIR, id=8, score=0.9)]
    relation = PredictedRelation(subject=8, object=1, name="left of")
    for listed in (twins, twins[::-1]):
        prediction = dataclasses.replace(
            said(things=[*listed, thing(TABLE)]), relations=(relation,)
        )
        assert relation_values(case, prediction)["triplet_f1"] == 1.0


def test_spq_is_that_of_the_metric_on_any_prediction() -> None:
    case = room_case()
    assert case.graph is not None
    assert case.graph.relations is not None
    truth = truth_as_prediction(case)
    draws = np.random.default_rng(0)
    things = tuple(
        dataclasses.replace(
            each, id=row, center=tuple(np.add(each.center, draws.normal(0, 0.1, 3)))
        )
        for row, each in enumerate((*truth.objects, *truth.objects))
    )
    count = len(things)
    asserted = draws.random((count, count, len(RELATIONS))) < 0.05
    asserted[np.arange(count), np.arange(count)] = False
    prediction = ScenePrediction(
        scene=case.name,
        system="test",
        objects=things,
        relations=tuple(
            PredictedRelation(subject=int(s), object=int(o), name=RELATIONS[column])
            for s, o, column in np.argwhere(asserted)
        ),
    )
    matches = Nodes.of(prediction, case.graph).matches(0.25)
    assert 0 < (matches.means >= 0).sum() < count
    pairs, true_pairs = (
        np.argwhere(~np.eye(size, dtype=bool)) for size in (count, len(case.graph.relations))
    )
    expected = relation_sums(
        pairs,
        asserted[pairs[:, 0], pairs[:, 1]],
        matches,
        true_pairs,
        case.graph.relations[true_pairs[:, 0], true_pairs[:, 1]],
        len(case.graph.relations),
    )
    row = np.array(relations.judge(case, prediction).rows["spq"])
    found = QualitySums.of_row(row)
    for name in ("quality", "true_positive", "predicted", "true"):
        assert getattr(found, name)[:-1] == pytest.approx(getattr(expected, name)), name
    assert float(score_named("spq").statistic(row)) == pytest.approx(expected.spq)


def test_thousands_of_objects_are_scored_in_little_memory() -> None:
    case = room_case()
    draws = np.random.default_rng(0)
    prediction = ScenePrediction(
        scene=case.name,
        system="test",
        objects=tuple(
            PredictedObject(id=row, class_name="chair", center=tuple(place), size=(1, 1, 1))
            for row, place in enumerate(draws.normal(size=(8000, 3)).tolist())
        ),
        relations=tuple(
            PredictedRelation(subject=int(s), object=int(o), name="near")
            for s, o in draws.integers(0, 8000, (1000, 2))
        ),
    )
    rows = relations.judge(case, prediction).rows
    assert rows["triplet_f1"][0] == 0.0
    assert rows["triplet_f1"][1] > 1000


def test_boxes_without_known_relations_are_asked_for_none() -> None:
    case = case_of()
    assert case.graph is not None
    boxes_alone = dataclasses.replace(case, graph=dataclasses.replace(case.graph, relations=None))
    assert relations.judge(boxes_alone, said()).rows == {}
    assert objects.judge(boxes_alone, said()).rows != {}


def test_more_errors_never_score_better() -> None:
    case = room_case()
    truth = truth_as_prediction(case)
    last: dict[str, float] | None = None
    for wrong in range(0, len(truth.objects) + 1, 3):
        lost = tuple(
            dataclasses.replace(each, class_name="unicorn") if row < wrong else each
            for row, each in enumerate(truth.objects)
        )
        prediction = dataclasses.replace(
            truth, objects=lost, relations=truth.relations[: len(truth.relations) - 5 * wrong]
        )
        rows = objects.judge(case, prediction).rows | relations.judge(case, prediction).rows
        values = {
            name: float(score_named(name).statistic(np.array(row))) for name, row in rows.items()
        }
        for name, value in values.items():
            if last is not None and "recall" not in name:  # a shorter list leaves more room
                assert value <= last[name] + 1e-12, (name, wrong)
        last = values
