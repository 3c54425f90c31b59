"""Retrieval over all scenes: who is found, what cannot be found, and luck."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pytest
from scored_rooms import room_case, truth_as_prediction

from g2vlm_fast.data import Query
from g2vlm_fast.data.interchange import PredictedObject, ScenePrediction
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.metrics.retrieval import retrieval_chance
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth
from g2vlm_fast.eval.scoring import SCORES, retrieval_rows, score_named
from g2vlm_fast.eval.scoring.retrieval import KS
from g2vlm_fast.records import Task

NAMES = [score.name for score in SCORES if score.task == "retrieval"]
Pairs = Sequence[tuple[Case, ScenePrediction | None]]


def scene(number: int, description: str | None = None) -> Case:
    """Two objects; one description and a phrase for the first object."""
    boxes = Boxes(
        np.array([[0.0, 0, 0], [5, 0, 0]]), np.ones((2, 3)), np.tile(np.eye(3), (2, 1, 1))
    )
    return Case(
        name=f"scene {number}",
        given=None,
        queries=(
            Query(text=description or f"description {number}", task=Task.CAPTION, kind="statement"),
            Query(text=f"phrase {number}", task=Task.REFERRING, kind="phrase", referred=0),
        ),
        graph=GraphTruth(boxes=boxes, class_names=("chair", "lamp"), relations=None),
    )


def knowing(case: Case, number: int, *, count: int = 4) -> ScenePrediction:
    """Scenes, descriptions, phrases and objects that point where they should."""
    axes = np.eye(4 * count, dtype=np.float32)
    here = 4 * number
    return ScenePrediction(
        scene=case.name,
        system="test",
        objects=tuple(
            PredictedObject(id=row, class_name="?", center=(5.0 * row, 0, 0), size=(1, 1, 1))
            for row in range(2)
        ),
        scene_embedding=3 * axes[here],
        object_embeddings=axes[[here + 1, here + 2]],
        texts=tuple(query.text for query in case.queries),
        text_embeddings=axes[[here, here + 1]],
    )


def pairs(count: int = 4) -> list[tuple[Case, ScenePrediction | None]]:
    cases = [scene(number) for number in range(count)]
    return [(case, knowing(case, number, count=count)) for number, case in enumerate(cases)]


def values(given: Pairs) -> dict[str, float]:
    rows = retrieval_rows(given)
    totals = {name: np.sum([row[name] for row in rows.values()], axis=0) for name in NAMES}
    return {name: float(score_named(name).statistic(total)) for name, total in totals.items()}


def luck(given: Pairs) -> dict[str, float]:
    rows = retrieval_rows(given)
    found = {}
    for name in NAMES:
        score = score_named(name)
        assert score.chance is not None
        found[name] = float(score.chance(np.sum([row[name] for row in rows.values()], axis=0)))
    return found


def test_who_points_the_right_way_is_found() -> None:
    assert set(values(pairs()).values()) == {1.0}
    rows = retrieval_rows(pairs())
    assert list(rows) == [f"scene {number}" for number in range(4)]
    assert all(set(row) == set(NAMES) for row in rows.values())


def test_rooms_that_are_known_are_found() -> None:
    cases = [room_case(5), room_case(6)]
    found = values([(case, truth_as_prediction(case)) for case in cases])
    assert set(found.values()) == {1.0}


def test_luck_is_that_of_a_random_order() -> None:
    expected = luck(pairs())
    scenes = retrieval_chance(np.eye(4, dtype=bool), ks=KS)
    objects = retrieval_chance(np.eye(8, dtype=bool)[::2], ks=KS)
    for k in KS:
        assert expected[f"text_to_scene_recall_{k}"] == pytest.approx(scenes.recall[k])
        assert expected[f"scene_to_text_recall_{k}"] == pytest.approx(scenes.recall[k])
        assert expected[f"text_to_object_recall_{k}"] == pytest.approx(objects.recall[k])
    assert expected["text_to_scene_map"] == pytest.approx(scenes.mean_average_precision)
    assert expected["text_to_object_map"] == pytest.approx(objects.mean_average_precision)


def test_scenes_that_all_look_alike_are_found_by_luck() -> None:
    alike = [
        (
            case,
            dataclasses.replace(
                said,
                scene_embedding=np.ones(16, dtype=np.float32),
                object_embeddings=np.ones((2, 16), dtype=np.float32),
                text_embeddings=np.ones((2, 16), dtype=np.float32),
            ),
        )
        for case, said in pairs()
        if said is not None
    ]
    found = values(alike)
    for name, level in luck(alike).items():
        if name.endswith("map"):
            assert 0 < found[name] <= level, "what is tied counts at the end of its tie"
        else:
            assert found[name] == pytest.approx(level)


def test_a_failed_scene_loses_its_queries_and_keeps_them_counted() -> None:
    given = pairs()
    given[1] = (given[1][0], None)
    rows = retrieval_rows(given)
    assert all(row[1] == 1.0 for each in rows.values() for row in each.values())
    assert all(row[0] == 0.0 for row in rows["scene 1"].values())
    for name in NAMES:
        assert values(given)[name] == pytest.approx(3 / 4), name


def test_nothing_at_all_scores_0() -> None:
    silent = [(case, None) for case, _ in pairs()]
    assert set(values(silent).values()) == {0.0}
    assert values(silent)["text_to_object_recall_10"] == luck(silent)["text_to_object_recall_10"]


def test_an_object_that_was_not_detected_cannot_be_found() -> None:
    given = pairs()
    case, said = given[0]
    assert said is not None
    elsewhere = tuple(
        dataclasses.replace(thing, center=(9.0, 9.0, thing.id)) for thing in said.objects
    )
    given[0] = (case, dataclasses.replace(said, objects=elsewhere))
    assert values(given)["text_to_object_recall_10"] == 0.75
    assert values(given)["text_to_scene_recall_1"] == 1.0


def test_objects_of_other_scenes_compete() -> None:
    given = pairs()
    case, said = given[0]
    assert said is not None
    assert said.object_embeddings is not None
    other = given[1][1]
    assert other is not None
    assert other.text_embeddings is not None
    imitation = said.object_embeddings.copy()
    imitation[1] = 2 * other.text_embeddings[1]
    given[0] = (case, dataclasses.replace(said, object_embeddings=imitation))
    found = retrieval_rows(given)["scene 1"]
    assert found["text_to_object_recall_1"][0] == pytest.approx(1 / 2)
    assert found["text_to_object_recall_5"][0] == 1.0


def test_descriptions_in_the_same_words_answer_for_each_other() -> None:
    given = pairs()
    twin = scene(1, "description 0")
    said = given[1][1]
    assert said is not None
    given[1] = (
        twin,
        dataclasses.replace(
            said,
            texts=tuple(query.text for query in twin.queries),
            text_embeddings=knowing(given[0][0], 0).text_embeddings,  # points to scene 0
        ),
    )
    found = retrieval_rows(given)["scene 1"]
    assert found["text_to_scene_recall_1"][0] == 1.0
    assert found["text_to_scene_map"][0] == pytest.approx(1 / 2 + 2 / 4 / 2)


def test_phrases_in_the_same_words_answer_for_each_other() -> None:
    given = pairs()
    shared = [
        (
            dataclasses.replace(
                case, queries=(dataclasses.replace(case.queries[1], text="the chair"),)
            ),
            said and dataclasses.replace(said, texts=("a", "the chair")),
        )
        for case, said in given
    ]
    said = shared[1][1]
    assert said is not None
    assert said.text_embeddings is not None
    towards_scene_0 = dataclasses.replace(said, text_embeddings=said.text_embeddings[:, ::-1])
    towards_scene_0.text_embeddings[1] = knowing(given[0][0], 0).text_embeddings[1]  # type: ignore[index]
    shared[1] = (shared[1][0], towards_scene_0)
    assert values(shared)["text_to_object_recall_1"] == 1.0
    assert luck(shared)["text_to_object_recall_1"] == pytest.approx(4 / 8)


def test_the_order_of_scenes_changes_nothing() -> None:
    forth, back = retrieval_rows(pairs()), retrieval_rows(pairs()[::-1])
    assert forth == back


def test_scenes_without_texts_are_ranked_and_have_no_rows() -> None:
    given = pairs()
    mute = dataclasses.replace(given[3][0], queries=())
    given[3] = (mute, given[3][1])
    rows = retrieval_rows(given)
    assert list(rows) == ["scene 0", "scene 1", "scene 2"]
    assert rows["scene 0"]["text_to_scene_recall_1"][2] == pytest.approx(1 / 4)
    assert rows["scene 0"]["scene_to_text_recall_1"][2] == pytest.approx(1 / 3)


def test_a_prediction_of_another_scene_fails_here_too() -> None:
    given = pairs()
    given[0] = (given[0][0], given[1][1])
    assert all(row[0] == 0.0 for row in retrieval_rows(given)["scene 0"].values())


def test_scenes_of_one_name_and_embeddings_of_two_sizes_are_refused() -> None:
    given = pairs()
    with pytest.raises(ValueError, match="'scene 2' has not"):
        retrieval_rows([*given, given[2]])
    case, _ = given[0]
    with pytest.raises(ValueError, match="must have one length, got 16"):
        retrieval_rows([*given[1:], (case, knowing(case, 0, count=5))])


def test_rows_are_plain_numbers() -> None:
    assert json.loads(json.dumps(retrieval_rows(pairs())))["scene 0"]["text_to_scene_map"] == [
        1.0, 1.0, pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4),
    ]  # fmt: skip
