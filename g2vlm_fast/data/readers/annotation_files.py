"""Annotations to JSON and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.data.annotations.records import (
    ObjectRelation,
    ReferringExpression,
    ScanAnnotations,
    ScanObject,
    ScanQuestion,
)
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.oriented_boxes import check_box
from g2vlm_fast.data.readers.safe_files import Fields


def annotations_to_json(annotations: ScanAnnotations) -> dict[str, Any]:
    """Everything but the rows of the mesh that belong to objects, as JSON can hold it."""
    return {
        "objects": [_object_to_json(thing) for thing in annotations.objects],
        "relations": [asdict(relation) for relation in annotations.relations],
        "expressions": [asdict(expression) for expression in annotations.expressions],
        "questions": [asdict(question) for question in annotations.questions],
    }


def annotations_from_json(whole: Fields) -> ScanAnnotations:
    """What :func:`annotations_to_json` wrote.

    Raises:
        ScanError: a field is missing or of another kind.
        AnnotationError: records contradict each other.
    """
    return ScanAnnotations(
        objects=tuple(_object(entry) for entry in whole.objects("objects")),
        relations=tuple(
            ObjectRelation(
                subject=entry.integer("subject"),
                object=entry.integer("object"),
                name=entry.text("name"),
            )
            for entry in whole.objects("relations")
        ),
        expressions=tuple(_expression(entry) for entry in whole.objects("expressions")),
        questions=tuple(_question(entry) for entry in whole.objects("questions")),
    )


def _object_to_json(thing: ScanObject) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": thing.id, "class_name": thing.class_name}
    for name in ("center", "size", "rotation"):
        value: Tensor | None = getattr(thing, name)
        if value is not None:
            fields[name] = value.tolist()
    return fields | {"attributes": list(thing.attributes)}


def _object(entry: Fields) -> ScanObject:
    box = {}
    if "center" in entry:
        box = {
            "center": box_numbers(entry, "center", 3),
            "size": box_numbers(entry, "size", 3),
            "rotation": box_numbers(entry, "rotation", 3, 3),
        }
        numbers = (value.double().numpy() for value in box.values())
        check_box(entry, entry.text("class_name"), *numbers)
    return ScanObject(
        id=entry.integer("id"),
        class_name=entry.text("class_name"),
        attributes=texts(entry, "attributes"),
        **box,
    )


def box_numbers(entry: Fields, name: str, *shape: int) -> Tensor:
    """Finite float32 numbers of a box.

    Raises:
        ScanError: missing, of another shape, NaN, infinite or beyond 1e6 metres.
    """
    numbers = entry.array(name, *shape)
    if not (abs(numbers) < 1e6).all():
        raise ScanError(
            entry.path, f"{name} of {entry.where} holds an impossible number", "Correct the file"
        )
    return torch.from_numpy(numbers).float()


def texts(entry: Fields, name: str) -> tuple[str, ...]:
    """A list of texts; none where it is absent.

    Raises:
        ScanError: something else stands there.
    """
    values = entry.list(name) if name in entry else []
    if not all(isinstance(value, str) for value in values):
        raise ScanError(entry.path, f"{name} of {entry.where} must be texts", "Correct the file")
    return tuple(values)


def integers(entry: Fields, name: str) -> tuple[int, ...]:
    """A list of integers; none where it is absent.

    Raises:
        ScanError: something else stands there.
    """
    values = entry.list(name) if name in entry else []
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise ScanError(entry.path, f"{name} of {entry.where} must be integers", "Correct the file")
    return tuple(values)


def _expression(entry: Fields) -> ReferringExpression:
    dependent = entry.values.get("view_dependent")
    return ReferringExpression(
        scan=entry.text("scan"),
        text=entry.text("text"),
        objects=integers(entry, "objects"),
        class_name=entry.text("class_name"),
        source=entry.text("source"),
        id=entry.text("id"),
        view_dependent=None if dependent is None else bool(dependent),
        distractors=integers(entry, "distractors") if "distractors" in entry else None,
    )


def _question(entry: Fields) -> ScanQuestion:
    position = None
    if "position" in entry:
        x, y, z = box_numbers(entry, "position", 3).double().tolist()
        position = (x, y, z)
    return ScanQuestion(
        scan=entry.text("scan"),
        text=entry.text("text"),
        answers=texts(entry, "answers"),
        source=entry.text("source"),
        id=entry.text("id"),
        objects=integers(entry, "objects"),
        situation=entry.text("situation", ""),
        position=position,
        heading=entry.number("heading") if "heading" in entry else None,
    )
