"""Language on scans: each published file, joined to the objects of its scan."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scan_layouts import scannet
from scan_layouts.room import small_room

from g2vlm_fast.data.annotations import (
    AnnotationError,
    ScanAnnotations,
    ScanObject,
    join_language,
)
from g2vlm_fast.data.annotations.language import (
    read_multi3drefer,
    read_referit3d,
    read_scanqa,
    read_scanrefer,
    read_sqa3d,
)
from g2vlm_fast.data.annotations.sentence_files import join_sentences, read_sentences
from g2vlm_fast.data.readers import ScanError, read_scan

SCAN = "scene0000_00"
SCANREFER = [
    {"scene_id": SCAN, "object_id": "0", "object_name": "coffee_table", "ann_id": "2",
     "description": " the table in the middle ", "token": ["the", "table"]},
    {"scene_id": "scene0001_00", "object_id": "7", "object_name": "chair", "ann_id": "0",
     "description": "a chair", "token": ["a", "chair"]},
]  # fmt: skip
MULTI = [
    {"scene_id": SCAN, "object_ids": [1, 2], "object_name": "box", "ann_id": 4,
     "description": "both of them", "eval_type": "mt"},
    {"scene_id": SCAN, "object_ids": [], "object_name": "box", "ann_id": 5,
     "description": "the pink box", "eval_type": "zt_w_d"},
]  # fmt: skip
SCANQA = [
    {"question_id": "val-1", "scene_id": SCAN, "question": "What is in the corner?",
     "answers": ["cabinet", "a cabinet"], "object_ids": [1], "object_names": ["cabinet"]},
    {"question_id": "test-2", "scene_id": SCAN, "question": "How many tables?"},
]  # fmt: skip
SQA_QUESTIONS = {"questions": [
    {"question_id": 220602000000, "scene_id": SCAN, "question": "What is on my left?",
     "situation": "I am facing the table.", "alternative_situation": []},
]}  # fmt: skip
SQA_ANNOTATIONS = {"annotations": [
    {"question_id": 220602000000, "scene_id": SCAN, "question_type": "N/A", "answer_type": "other",
     "answers": [{"answer": "box", "answer_confidence": "maybe", "answer_id": 1},
                 {"answer": "cabinet", "answer_confidence": "yes", "answer_id": 2}],
     "position": {"x": 1.0, "y": -0.5, "z": 0.0},
     "rotation": {"_x": 0, "_y": 0, "_z": math.sin(0.3), "_w": math.cos(0.3)}},
]}  # fmt: skip


def _json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def _csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_scanrefer(tmp_path: Path) -> None:
    first, second = read_scanrefer(_json(tmp_path / "ScanRefer_filtered.json", SCANREFER))
    assert (first.scan, first.objects, first.text) == (SCAN, (0,), "the table in the middle")
    assert first.class_name == "coffee table"
    assert first.id == f"{SCAN}-0-2"
    assert second.scan == "scene0001_00"


def test_multi3drefer_may_mean_many_or_none(tmp_path: Path) -> None:
    many, none = read_multi3drefer(_json(tmp_path / "multi3drefer_val.json", MULTI))
    assert many.objects == (1, 2)
    assert none.objects == ()


def test_referit3d(tmp_path: Path) -> None:
    rows = [
        {"assignmentid": "4427", "stimulus_id": f"{SCAN}-trash can-3-9-10-11",
         "utterance": "the can by the door, \"left\" one"},
        {"assignmentid": "", "stimulus_id": f"{SCAN}-t-shirt-2-4-5", "utterance": "the t-shirt"},
    ]  # fmt: skip
    natural, synthetic = read_referit3d(_csv(tmp_path / "nr3d.csv", rows))
    assert (natural.objects, natural.distractors) == ((9,), (10, 11))
    assert (natural.class_name, natural.source, natural.id) == ("trash can", "Nr3D", "4427")
    assert '"left"' in natural.text
    assert (synthetic.class_name, synthetic.source) == ("t-shirt", "Sr3D")
    assert (synthetic.objects, synthetic.distractors) == ((4,), (5,))


@pytest.mark.parametrize(
    "stimulus", ["", "scene", f"{SCAN}-chair", f"{SCAN}-chair-3-1-2", "a-b-c-d"]
)
def test_stimulus_that_is_none_is_refused(stimulus: str, tmp_path: Path) -> None:
    path = _csv(tmp_path / "sr3d.csv", [{"stimulus_id": stimulus, "utterance": "x"}])
    with pytest.raises(ScanError, match="line 2"):
        read_referit3d(path)


def test_scanqa_without_answers_has_none(tmp_path: Path) -> None:
    known, hidden = read_scanqa(_json(tmp_path / "ScanQA_v1.0_val.json", SCANQA))
    assert known.answers == ("cabinet", "a cabinet")
    assert known.objects == (1,)
    assert (hidden.answers, hidden.objects) == ((), ())


def test_sqa3d_joins_answers_and_situation(tmp_path: Path) -> None:
    questions = _json(tmp_path / "questions.json", SQA_QUESTIONS)
    annotations = _json(tmp_path / "annotations.json", SQA_ANNOTATIONS)
    (question,) = read_sqa3d(questions, annotations)
    assert question.answers == ("cabinet", "box")
    assert question.position == (1.0, -0.5, 0.0)
    assert question.heading == pytest.approx(0.6)
    assert question.situation == "I am facing the table."
    (bare,) = read_sqa3d(questions)
    assert bare.answers == ()
    with pytest.raises(ScanError, match="220602000000"):
        read_sqa3d(questions, _json(tmp_path / "other.json", {"annotations": []}))


def test_language_is_joined_to_the_objects_of_its_scan(tmp_path: Path) -> None:
    scene = read_scan(scannet.write(tmp_path, small_room()))
    expressions = read_scanrefer(_json(tmp_path / "a.json", SCANREFER))
    questions = read_scanqa(_json(tmp_path / "b.json", SCANQA))
    joined = join_language(scene.annotations, SCAN, expressions=expressions, questions=questions)
    (expression,) = joined.expressions
    assert joined.object_by_id(expression.objects[0]).class_name == "table"
    assert len(joined.questions) == 2


def test_sentence_about_an_object_that_the_scan_lacks_is_refused(tmp_path: Path) -> None:
    scene = read_scan(scannet.write(tmp_path, small_room()))
    absent = [SCANREFER[0] | {"object_id": "77"}]
    expressions = read_scanrefer(_json(tmp_path / "a.json", absent))
    with pytest.raises(AnnotationError, match="77"):
        join_language(scene.annotations, SCAN, expressions=expressions)


def test_question_moves_with_its_world(tmp_path: Path) -> None:
    questions = _json(tmp_path / "questions.json", SQA_QUESTIONS)
    annotations = _json(tmp_path / "annotations.json", SQA_ANNOTATIONS)
    joined = join_language(None, SCAN, questions=read_sqa3d(questions, annotations))
    quarter = torch.eye(4)
    quarter[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    quarter[:3, 3] = torch.tensor([10.0, 0.0, 1.0])
    (question,) = joined.moved(quarter).questions
    assert question.position == pytest.approx((10.5, 1.0, 1.0))
    assert question.heading == pytest.approx(0.6 + math.pi / 2)


READERS: dict[str, tuple[Callable[[Path], object], Any]] = {
    "scanrefer": (read_scanrefer, SCANREFER),
    "multi3drefer": (read_multi3drefer, MULTI),
    "scanqa": (read_scanqa, SCANQA),
    "sqa3d": (read_sqa3d, SQA_QUESTIONS),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_language_is_read_or_refused(name: str, tmp_path: Path) -> None:
    read, value = READERS[name]
    whole = json.dumps(value).encode()
    draws = random.Random(f"fuzz {name}")
    path = tmp_path / "damaged.json"
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(draws.randrange(1, 4)):
            changed[draws.randrange(len(changed))] = draws.randrange(256)
        path.write_bytes(changed[: draws.randrange(1, 2 * len(changed))])
        try:
            records = read(path)
        except ScanError:
            refused += 1
        else:
            assert isinstance(records, tuple)
    assert refused > 100


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[1]", "null", "NaN", '[{"scene_id": 3}]'])
def test_hostile_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(text)
    for read in (read_scanrefer, read_multi3drefer, read_scanqa):
        with pytest.raises(ScanError):
            read(path)


def test_files_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    paths = [
        _json(tmp_path / "answers.json", SQA_ANNOTATIONS),
        _json(tmp_path / "scanrefer.json", SCANREFER),
        _json(tmp_path / "questions.json", SQA_QUESTIONS),
        _json(tmp_path / "multi.json", MULTI),
        _json(tmp_path / "scanqa.json", SCANQA),
    ]
    found = read_sentences(paths)
    assert [record.source for record in found.expressions] == ["ScanRefer"] * 2 + [
        "Multi3DRefer"
    ] * 2
    assert [record.source for record in found.questions] == ["SQA3D", "ScanQA", "ScanQA"]
    assert found.questions[0].answers == ("cabinet", "box")
    alone = read_sentences([tmp_path / "questions.json"])
    assert alone.questions[0].answers == ()
    assert read_sentences([]) == ((), ())


def test_a_scan_is_given_what_is_about_it(tmp_path: Path) -> None:
    paths = [_json(tmp_path / "a.json", MULTI), _json(tmp_path / "b.json", SCANQA)]
    told = join_sentences(None, SCAN, paths)
    assert len(told.expressions) == len(told.questions) == 2
    with pytest.raises(ScanError, match="says nothing about the scan 'mine', only about scene0000"):
        join_sentences(None, "mine", paths)
    with pytest.raises(ScanError, match="names object 1, which is not among"):
        join_sentences(ScanAnnotations(objects=(ScanObject(id=9, class_name="bed"),)), SCAN, paths)


@pytest.mark.parametrize("value", [{}, [], [1], [{}], {"scans": []}, "text", None, [[1]]])
def test_files_of_other_things_are_refused_by_name(value: object, tmp_path: Path) -> None:
    path = _json(tmp_path / "other.json", value)
    with pytest.raises(ScanError, match=r"other\.json.*holds no sentences of ScanRefer"):
        read_sentences([path])


def test_answers_without_their_questions_are_refused(tmp_path: Path) -> None:
    answers = _json(tmp_path / "answers.json", SQA_ANNOTATIONS)
    with pytest.raises(ScanError, match="answers of SQA3D, and 0 files hold its questions"):
        read_sentences([answers])
    with pytest.raises(ScanError, match=r"absent\.json"):
        read_sentences([tmp_path / "absent.json"])
