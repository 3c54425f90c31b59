"""Predictions of other systems: written, read back, and refused where they contradict."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2vlm_fast.data.interchange import (
    ARRAY_FILE,
    JSON_FILE,
    PredictedAnswer,
    PredictedCaption,
    PredictedGrounding,
    PredictedObject,
    PredictedRelation,
    PredictionError,
    ScenePrediction,
    read_prediction,
    write_prediction,
)
from g2vlm_fast.data.readers import ScanError


@pytest.fixture
def prediction() -> ScenePrediction:
    draws = np.random.default_rng(0)
    return ScenePrediction(
        scene="scene0000_00",
        system="somebody's model 2.1",
        points=draws.normal(size=(10, 3)).astype(np.float32),
        colors=draws.random((10, 3)).astype(np.float32),
        vertices=draws.normal(size=(4, 3)).astype(np.float32),
        faces=np.array([[0, 1, 2], [3, 2, 1]], dtype=np.int32),
        depth=draws.random((2, 4, 6)).astype(np.float32),
        poses=np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)),
        intrinsics=np.tile(np.diag([5, 5, 1]).astype(np.float32), (2, 1, 1)),
        views=(0, 7),
        scene_embedding=draws.normal(size=5).astype(np.float32),
        object_embeddings=draws.normal(size=(2, 5)).astype(np.float32),
        text_embeddings=draws.normal(size=(1, 5)).astype(np.float32),
        texts=("the red châir",),
        objects=(
            PredictedObject(id=3, class_name="chair", center=(0, 1, 0.5), size=(0.5, 0.5, 1)),
            PredictedObject(
                id=4, class_name="table", center=(1, 1, 0.4), size=(1, 2, 0.8), score=0.25,
                rotation=((0, -1, 0), (1, 0, 0), (0, 0, 1)),
            ),
        ),
        relations=(PredictedRelation(subject=3, object=4, name="near", score=0.5),),
        answers=(PredictedAnswer(question="How many?", text="two", value=2.0, objects=(3, 4)),),
        groundings=(
            PredictedGrounding(text="the red châir", objects=(3, 4), scores=(0.75, 0.25)),
            PredictedGrounding(text="the moon", objects=(), scores=()),
        ),
        captions=(
            PredictedCaption(text="A chair at a täble.", objects=(3, 4)),
            PredictedCaption(text="A room.", request="Describe the room."),
        ),
    )  # fmt: skip


def test_prediction_is_read_back(prediction: ScenePrediction, tmp_path: Path) -> None:
    write_prediction(prediction, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == [JSON_FILE, ARRAY_FILE]
    back = read_prediction(tmp_path / "out")
    for field in dataclasses.fields(prediction):
        mine, theirs = getattr(prediction, field.name), getattr(back, field.name)
        if isinstance(mine, np.ndarray):
            assert np.array_equal(mine, theirs)
        else:
            assert mine == theirs


def test_prediction_may_be_of_anything(tmp_path: Path) -> None:
    empty = ScenePrediction(scene="s", system="m")
    write_prediction(empty, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == [JSON_FILE]
    assert read_prediction(tmp_path / "out").points is None


def test_prediction_is_replaced_only_on_request(
    prediction: ScenePrediction, tmp_path: Path
) -> None:
    write_prediction(prediction, tmp_path / "out")
    with pytest.raises(OSError, match="--overwrite"):
        write_prediction(prediction, tmp_path / "out")
    write_prediction(prediction, tmp_path / "out", overwrite=True)


_THING = PredictedObject(id=3, class_name="chair", center=(0, 0, 0), size=(1, 1, 1))
_OTHER = dataclasses.replace(_THING, id=9)
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"system": ""}, "must be named"),
    "float64": ({"points": np.zeros((10, 3))}, "float32"),
    "shape": ({"points": np.zeros((9, 3), np.float32)}, "colors must have shape"),
    "NaN": ({"points": np.full((10, 3), np.nan, np.float32)}, "finite"),
    "colours of points that are not there": ({"points": None}, "together with points"),
    "colours of 255": ({"colors": np.full((10, 3), 2, np.float32)}, "divide by 255"),
    "points in nanometres": ({"points": np.full((10, 3), 1e7, np.float32)}, "within 1,000,000 m"),
    "mesh without faces": ({"faces": None}, "vertices must be given together with faces"),
    "faces without mesh": ({"vertices": None}, "faces must be given together with vertices"),
    "long faces": ({"faces": np.zeros((2, 3), np.int64)}, "an array of int32, got int64"),
    "a face without its vertex": ({"faces": np.array([[0, 1, 4]], np.int32)},
                                  "rows of 4 vertices, got 0 to 4"),
    "embeddings of two sizes": ({"scene_embedding": np.ones(4, np.float32)},
                                "object_embeddings must have shape"),
    "embeddings of fewer objects": ({"object_embeddings": np.ones((1, 5), np.float32)},
                                    r"shape \[2, 5\]"),
    "an embedding without direction": ({"text_embeddings": np.zeros((1, 5), np.float32)},
                                       "one is zero"),
    "texts without embeddings": ({"text_embeddings": None}, "texts must come with text_embeddings"),
    "embeddings without texts": ({"texts": ()}, r"shape \[0, 5\]"),
    "a view twice": ({"views": (7, 7)}, "views must differ, but 7 comes twice"),
    "a text twice": ({"texts": ("a", "a"), "text_embeddings": np.ones((2, 5), np.float32)},
                     "texts must differ"),
    "a question answered twice": (
        {"answers": (PredictedAnswer(question="?", text="x"),) * 2}, "questions of answers",
    ),
    "a phrase grounded twice": (
        {"groundings": (PredictedGrounding(text="x", objects=(), scores=()),) * 2},
        "texts of groundings",
    ),
    "an object meant twice": (
        {"groundings": (PredictedGrounding(text="x", objects=(3, 3), scores=(0, 1)),)},
        "objects of the grounding of 'x'",
    ),
    "a score too few": (
        {"groundings": (PredictedGrounding(text="x", objects=(3, 4), scores=(1.0,)),)},
        "a score for each of 2 objects, got 1",
    ),
    "a score that is NaN": (
        {"groundings": (PredictedGrounding(text="x", objects=(3,), scores=(float("nan"),)),)},
        "scores of a PredictedGrounding must be a tuple of finite ints or floats",
    ),
    "a phrase that means nobody": (
        {"groundings": (PredictedGrounding(text="x", objects=(5,), scores=(1.0,)),)}, "object 5",
    ),
    "an id of numpy": (
        {"objects": (dataclasses.replace(_THING, id=np.int64(3)), _OTHER)},
        "id of a PredictedObject must be an int, got",
    ),
    "a score of numpy": (
        {"relations": (PredictedRelation(subject=3, object=4, name="on", score=np.float32(1)),)},
        "score of a PredictedRelation must be a finite int or float",
    ),
    "a box of two sides": (
        {"objects": (dataclasses.replace(_THING, size=(1, 1)), _OTHER)},
        "size of a PredictedObject must be a tuple of three",
    ),
    "a list for a box": (
        {"objects": (dataclasses.replace(_THING, center=[0, 0, 0]), _OTHER)},
        "center of a PredictedObject must be a tuple of three",
    ),
    "no text": (
        {"answers": (PredictedAnswer(question="?", text=None),)},
        "text of a PredictedAnswer must be a text, got None",
    ),
    "half a letter": ({"captions": (PredictedCaption(text="\ud83d"),)}, "must be a text"),
    "a text for a list": ({"texts": "abc"}, "texts of a ScenePrediction must be a tuple of texts"),
    "a record of another kind": ({"objects": ({"id": 3},)}, "a tuple of PredictedObject"),
    "no objects": ({"objects": None}, "a tuple of PredictedObject, got None"),
    "a request answered twice": (
        {"captions": (PredictedCaption(text="x", request="?"),) * 2}, "requests of captions",
    ),
    "negative depth": ({"depth": np.full((2, 4, 6), -1, np.float32)}, "positive"),
    "depth without camera": ({"intrinsics": None}, "together with intrinsics"),
    "views": ({"views": (0, 1, 2)}, "depth must have shape"),
    "no views": ({"views": ()}, "views must say"),
    "scaled poses": ({"poses": np.tile(np.diag([2, 2, 2, 1]).astype(np.float32), (2, 1, 1))},
                     "orthonormal"),
    "mirrored poses": ({"poses": np.tile(np.diag([1, 1, -1, 1]).astype(np.float32), (2, 1, 1))},
                       "determinant"),
    "two of one id": ({"objects": (_THING, _THING)}, "ids of their own"),
    "size below nothing": (
        {"objects": (dataclasses.replace(_THING, size=(1, -1, 1)), _OTHER)}, "the box of object 3",
    ),
    "box far away": (
        {"objects": (dataclasses.replace(_THING, center=(1e9, 0, 0)), _OTHER)},
        "the box of object 3",
    ),
    "score": ({"objects": (dataclasses.replace(_THING, score=1.5), _OTHER)}, "score of object 3"),
    "absent object": ({"objects": (_THING, _OTHER)}, "object 4"),
    "value": ({"answers": (PredictedAnswer(question="?", text="x", value=float("inf")),)},
              "finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradiction_is_refused(name: str, prediction: ScenePrediction) -> None:
    changes, words = CONTRADICTIONS[name]
    with pytest.raises(PredictionError, match=words):
        dataclasses.replace(prediction, **changes)


def _save(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


def _huge(path: Path) -> None:
    """A header that declares 2**60 numbers."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976, 3), }"
    header += b" " * (118 - len(header)) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "points.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        )


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("points.npy", bytes(300_000_000))


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickle in an archive": (
        lambda p: _save(p, points=np.array([{"a": 1}], dtype=object)), "float32",
    ),
    "bare pickle": (lambda p: p.write_bytes(pickle.dumps([1, 2])), "no archive"),
    "huge header": (_huge, "declares"),
    "bomb": (_bomb, "swell"),
    "unknown array": (lambda p: _save(p, secrets=np.zeros(3, np.float32)), "unknown"),
    "float64": (lambda p: _save(p, points=np.zeros((2, 3))), "float32"),
    "text": (lambda p: p.write_text("hello"), "no archive"),
    "folder": (lambda p: p.mkdir(), "no archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_arrays_are_refused(name: str, tmp_path: Path) -> None:
    make, words = HOSTILE[name]
    write_prediction(ScenePrediction(scene="s", system="m"), tmp_path / "out")
    make(tmp_path / "out" / ARRAY_FILE)
    with pytest.raises(ScanError, match=words):
        read_prediction(tmp_path / "out")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"version": 2}, "version 1"),
        ({"format": "other"}, "is no"),
        ({"boxes": []}, "unknown field 'boxes'"),
        ({"objects": [{"id": 1, "class_name": "x", "center": [0, 0, 0], "sizes": [1]}]}, "sizes"),
        (
            {"objects": [{"id": 1, "class_name": "x", "center": [0, 0], "size": [1, 1, 1]}]},
            "center",
        ),
        ({"relations": [{"subject": 1, "object": 2, "name": "near"}]}, "object 1"),
        ({"captions": ["text"]}, "not an object"),
        ({"texts": [1]}, "texts must be a list of texts"),
        ({"texts": ["a"]}, "texts must come with text_embeddings"),
        ({"groundings": [{"text": "x", "objects": [], "scores": ["a"]}]}, "scores"),
        ({"groundings": [{"text": "x", "objects": [1.5], "scores": [1]}]}, "must be integers"),
        ({"groundings": [{"text": "x", "object": 1, "scores": [1]}]}, "unknown field 'object'"),
    ],
)
def test_wrong_json_is_refused(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    write_prediction(ScenePrediction(scene="s", system="m"), tmp_path / "out")
    path = tmp_path / "out" / JSON_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(ScanError, match=words):
        read_prediction(tmp_path / "out")


@pytest.mark.parametrize("name", [JSON_FILE, ARRAY_FILE])
def test_damaged_prediction_is_read_or_refused(
    name: str, prediction: ScenePrediction, tmp_path: Path
) -> None:
    write_prediction(prediction, tmp_path / "out")
    path = tmp_path / "out" / name
    whole = path.read_bytes()
    draws = random.Random(f"fuzz {name}")
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(draws.randrange(1, 4)):
            changed[draws.randrange(len(changed))] = draws.randrange(256)
        path.write_bytes(changed[: draws.randrange(1, 2 * len(changed))])
        try:
            back = read_prediction(tmp_path / "out")
        except ScanError:
            refused += 1
        else:
            assert isinstance(back, ScenePrediction)
    assert refused > 100
