"""Predictions to files and back; ``docs/datasets.md`` lists their fields.

They are read as strictly as they are written, so that what is evaluated is what was meant: another
system's numbers are never guessed at.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from g2vlm_fast.data.interchange.arrays import ARRAYS, PredictionError
from g2vlm_fast.data.interchange.records import (
    RECORDS,
    PredictedAnswer,
    PredictedCaption,
    PredictedGrounding,
    PredictedObject,
    PredictedRelation,
    ScenePrediction,
)
from g2vlm_fast.data.readers.annotation_files import integers
from g2vlm_fast.data.readers.archives import read_npz
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.safe_files import Fields
from g2vlm_fast.export.files import publish
from g2vlm_fast.files import write_text

FORMAT = "g2vlm-fast prediction"
VERSION = 1
JSON_FILE, ARRAY_FILE = "prediction.json", "prediction.npz"

_FIELDS = ["format", "version", "scene", "system", "views", "texts", *RECORDS]


def write_prediction(prediction: ScenePrediction, out: Path, *, overwrite: bool = False) -> None:
    """Write a prediction into a folder that appears when it is complete.

    Raises:
        OutputError: the folder may not be replaced or cannot be written.
    """
    whole: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    for name in ("scene", "system"):
        whole[name] = getattr(prediction, name)
    for name in ("views", "texts"):
        whole[name] = list(getattr(prediction, name))
    for name in RECORDS:
        whole[name] = [_to_json(record) for record in getattr(prediction, name)]
    arrays = {name: getattr(prediction, name) for name in ARRAYS}
    with publish(out, overwrite=overwrite, mark=JSON_FILE) as folder:
        given = {name: value for name, value in arrays.items() if value is not None}
        if given:
            np.savez_compressed(folder / ARRAY_FILE, **given)
        text = json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False)
        write_text(folder / JSON_FILE, text + "\n")


def read_prediction(folder: Path) -> ScenePrediction:
    """Read and check a prediction.

    Raises:
        ScanError: a file is missing, cut off, larger than it says, or in another format; the
            prediction contradicts itself.
    """
    path = folder / JSON_FILE
    whole = Fields.read(path)
    if whole.text("format") != FORMAT or whole.integer("version") != VERSION:
        raise ScanError(
            path, f"is no {FORMAT} of version {VERSION}", "Write it as docs/datasets.md says"
        )
    unknown = sorted(whole.values.keys() - set(_FIELDS))
    if unknown:
        raise ScanError(
            path, f"has the unknown field {unknown[0]!r}", f"Known are {', '.join(_FIELDS)}"
        )
    dtypes = {name: np.dtype(field.dtype) for name, field in ARRAYS.items()}
    arrays = read_npz(folder / ARRAY_FILE, dtypes) if (folder / ARRAY_FILE).exists() else {}
    try:
        return ScenePrediction(
            scene=whole.text("scene"),
            system=whole.text("system"),
            views=integers(whole, "views"),
            texts=_texts(whole),
            objects=tuple(_object(entry) for entry in _entries(whole, "objects")),
            relations=tuple(
                PredictedRelation(
                    subject=entry.integer("subject"),
                    object=entry.integer("object"),
                    name=entry.text("name"),
                    score=entry.number("score", 1.0),
                )
                for entry in _entries(whole, "relations")
            ),
            answers=tuple(
                PredictedAnswer(
                    question=entry.text("question"),
                    text=entry.text("text"),
                    value=entry.number("value") if "value" in entry else None,
                    objects=integers(entry, "objects"),
                )
                for entry in _entries(whole, "answers")
            ),
            groundings=tuple(
                PredictedGrounding(
                    text=entry.text("text"),
                    objects=integers(entry, "objects"),
                    scores=tuple(entry.array("scores", -1).tolist()),
                )
                for entry in _entries(whole, "groundings")
            ),
            captions=tuple(
                PredictedCaption(
                    text=entry.text("text"),
                    objects=integers(entry, "objects"),
                    request=entry.text("request", ""),
                )
                for entry in _entries(whole, "captions")
            ),
            **arrays,
        )
    except PredictionError as error:
        raise ScanError(folder, str(error), "Correct the prediction") from error


def _entries(whole: Fields, name: str) -> list[Fields]:
    if name not in whole:
        return []
    known = {field.name for field in fields(RECORDS[name])}
    entries = list(whole.objects(name))
    for entry in entries:
        unknown = sorted(entry.values.keys() - known)
        if unknown:
            raise ScanError(
                entry.path, f"{entry.where} has the unknown field {unknown[0]!r}",
                f"Known are {', '.join(sorted(known))}",
            )  # fmt: skip
    return entries


def _texts(whole: Fields) -> tuple[str, ...]:
    texts = whole.list("texts") if "texts" in whole else []
    if not all(isinstance(text, str) for text in texts):
        raise ScanError(whole.path, "texts must be a list of texts", "Correct the file")
    return tuple(texts)


def _object(entry: Fields) -> PredictedObject:
    rotation = np.eye(3) if "rotation" not in entry else entry.array("rotation", 3, 3)
    return PredictedObject(
        id=entry.integer("id"),
        class_name=entry.text("class_name"),
        center=tuple(entry.array("center", 3).tolist()),
        size=tuple(entry.array("size", 3).tolist()),
        rotation=tuple(tuple(axis) for axis in rotation.tolist()),
        score=entry.number("score", 1.0),
    )


def _to_json(record: Any) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: value for name, value in values.items() if value is not None}
