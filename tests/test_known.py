"""What is known of rooms and of scans, and that sheets and browsers show it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="pictures need the extra `app`")

from scan_layouts import threerscan
from scan_layouts.room import small_room

from g2vlm_fast.cli import BAD_INPUT, main
from g2vlm_fast.data import RoomConfig, Scene, generate_room
from g2vlm_fast.data.annotations import (
    ObjectRelation,
    ReferringExpression,
    ScanAnnotations,
    ScanObject,
    ScanQuestion,
)
from g2vlm_fast.ontology import RELATIONS
from g2vlm_fast.pipeline import view
from g2vlm_fast.pipeline.contact_sheet import contact_sheet
from g2vlm_fast.pipeline.data_config import SceneConfig
from g2vlm_fast.pipeline.known import known_of, some_of
from g2vlm_fast.pipeline.show import load_scene
from g2vlm_fast.report.pictures import GAP


def thing(number: int, name: str, center: tuple[float, float, float] | None) -> ScanObject:
    if center is None:
        return ScanObject(id=number, class_name=name)
    return ScanObject(
        id=number, class_name=name, center=torch.tensor(center), size=torch.tensor([0.6, 0.4, 0.5]),
        rotation=torch.eye(3),
    )  # fmt: skip


ANNOTATIONS = ScanAnnotations(
    objects=(
        thing(40, "chair", (0.5, 0.2, 0.3)),
        thing(7, "price $tag$ of <b>", (-0.4, 0.3, 0.8)),
        thing(3, "lamp", None),
    ),
    relations=(
        ObjectRelation(subject=40, object=7, name="left"),
        ObjectRelation(subject=7, object=40, name="standing on"),
        ObjectRelation(subject=3, object=40, name="close by"),
    ),
    expressions=(
        ReferringExpression(
            scan="s", text="the *red* one", objects=(40,), class_name="chair", source="Nr3D", id="1"
        ),
        ReferringExpression(
            scan="s", text="a unicorn", objects=(), class_name="x", source="Multi3DRefer", id="2"
        ),
    ),
    questions=(
        ScanQuestion(
            scan="s", text="what is it?", answers=("a chair", "chair"), source="SQA3D", id="3",
            situation="i sit.",
        ),
        ScanQuestion(scan="s", text="and that?", answers=(), source="ScanQA", id="4"),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def room() -> Scene:
    return generate_room(5, RoomConfig(image_size=(48, 64), views=(2, 2), depth_probability=1.0))


@pytest.fixture(scope="module")
def scan(room: Scene) -> Scene:
    return dataclasses.replace(room, truth=None, annotations=ANNOTATIONS)


def test_of_a_room_all_objects_and_relations_are_known(room: Scene) -> None:
    assert room.truth is not None
    known = known_of(room)
    assert [each.class_name for each in known.objects] == [o.class_name for o in room.truth.objects]
    assert len(known.relations) == int((room.truth.relations == 1).sum())
    assert {edge.name for edge in known.relations} <= set(RELATIONS)
    assert known.sentences == ()


def test_of_a_scan_what_people_wrote_is_known(scan: Scene) -> None:
    known = known_of(scan)
    assert [(each.id, each.class_name) for each in known.objects] == [
        (40, "chair"), (7, "price $tag$ of <b>"),
    ]  # fmt: skip
    np.testing.assert_allclose(known.objects[0].center, (0.5, 0.2, 0.3), rtol=1e-6)
    # support says the most; a relation of an object without a place cannot be drawn
    assert [edge.name for edge in known.relations] == ["standing on", "left"]
    assert known.sentences == (
        "annotated without a place: lamp 3",
        "Nr3D: the *red* one  chair 40",
        "Multi3DRefer: a unicorn  nothing fits",
        "SQA3D: i sit. what is it?  a chair / chair",
        "ScanQA: and that?  no answer is given",
    )


def test_nothing_is_known_of_bare_scenes(scan: Scene) -> None:
    bare = dataclasses.replace(scan, annotations=None)
    assert known_of(bare) == known_of(bare)
    assert not known_of(bare).objects
    assert not known_of(dataclasses.replace(scan, annotations=ScanAnnotations())).sentences


def test_of_many_sentences_some_are_shown_and_all_are_counted() -> None:
    sentences = [f"sentence {number}" for number in range(1000)]
    shown = some_of(sentences, 10)
    assert shown[:2] == ["sentence 0", "sentence 100"]
    assert shown[-1] == "(10 of 1000 sentences)"
    assert some_of(sentences[:10], 10) == sentences[:10]


def test_a_sheet_shows_boxes_graph_and_sentences_of_a_scan(scan: Scene) -> None:
    bare = dataclasses.replace(scan, annotations=None)
    objects = dataclasses.replace(ANNOTATIONS, expressions=(), questions=())
    boxes = contact_sheet(dataclasses.replace(scan, annotations=objects))
    sheet = contact_sheet(bare)
    row = 315 + GAP  # of views
    assert len(boxes) == pytest.approx(len(sheet) + row, abs=60)  # a row of views with boxes
    plans = sheet[2 * row :], boxes[3 * row :]
    height = min(map(len, plans))
    assert (plans[0][:height] != plans[1][:height]).mean() > 0.01  # footprints and names


def test_names_of_other_peoples_files_are_drawn_as_they_are(scan: Scene) -> None:
    hostile = [r"$\frac{$", "a/b\\c", "<script>", "\u202ename", "x" * 300, ""]
    objects = tuple(thing(i, name, (0.1 * i, 0.0, 0.5)) for i, name in enumerate(hostile))
    relations = (ObjectRelation(subject=0, object=1, name=r"$\oops{"),)
    annotated = ScanAnnotations(objects=objects, relations=relations)
    sheet = contact_sheet(dataclasses.replace(scan, annotations=annotated))
    assert sheet.dtype == np.uint8


def test_a_browser_is_given_the_boxes_of_a_scan(scan: Scene) -> None:
    server = MagicMock()
    view._add_objects(server, known_of(scan).objects)
    labels = [call.args for call in server.scene.add_label.call_args_list]
    assert labels == [
        ("/objects/40/label", "chair 40"), ("/objects/7/label", "price $tag$ of <b> 7"),
    ]  # fmt: skip
    edges = [call.args[1] for call in server.scene.add_line_segments.call_args_list]
    np.testing.assert_allclose(edges[0].reshape(-1, 3).min(0), (0.2, 0.0, 0.05), atol=1e-6)
    np.testing.assert_allclose(edges[0].reshape(-1, 3).max(0), (0.8, 0.4, 0.55), atol=1e-6)
    assert view._add_objects(MagicMock(), ()) is None


def test_sentences_of_other_people_are_no_markdown(scan: Scene) -> None:
    text = view._markdown(scan, known_of(scan), [])
    assert r"the \*red\* one" in text
    assert "<b>" not in text


def test_sentences_of_other_files_are_shown_with_their_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = threerscan.write(tmp_path, small_room())
    sentence = {
        "scene_id": threerscan.NAME, "object_id": "1", "object_name": "table", "ann_id": "0",
        "description": "where one eats",
    }  # fmt: skip
    file = tmp_path / "sentences.json"
    file.write_text(json.dumps([sentence]))
    scene, _ = load_scene(SceneConfig(scene=str(folder), sentences=(file,)))
    assert known_of(scene).sentences == ("ScanRefer: where one eats  table 1",)
    out = str(tmp_path / "sheet.png")
    assert main(["data", "show", "7", "--sentences", str(file), "--out", out]) == BAD_INPUT
    assert "--sentences are about scans" in capsys.readouterr().err


def test_annotations_are_turned_upright_with_their_scan(tmp_path: Path) -> None:
    folder = threerscan.write(tmp_path, small_room())
    scene, _ = load_scene(SceneConfig(scene=str(folder)))
    known = known_of(scene)
    assert {each.class_name for each in known.objects} == {"table", "cabinet", "box"}
    table = next(each for each in known.objects if each.class_name == "table")
    assert table.center[2] - table.size[2] / 2 == pytest.approx(0, abs=0.05)  # on the floor
    assert [edge.name for edge in known.relations] == ["left"]
    assert len(contact_sheet(scene)) > len(
        contact_sheet(dataclasses.replace(scene, annotations=None))
    )
