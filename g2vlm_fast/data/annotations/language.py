"""Sentences and questions about ScanNet and 3RScan scans, from the files that they come in.

Every function reads one file into typed records; :func:`join_language` gives a scan its own.
"""

from __future__ import annotations

import math
from pathlib import Path

from g2vlm_fast.data.annotations.records import ReferringExpression, ScanQuestion
from g2vlm_fast.data.readers.annotation_files import integers, texts
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.safe_files import Fields, read_csv, read_json


def read_scanrefer(path: Path) -> tuple[ReferringExpression, ...]:
    """ScanRefer, and Scan2Cap, which describes the same objects by the same file.

    Source: Chen, Chang and Niessner, *ScanRefer: 3D Object Localization in RGB-D Scans Using
    Natural Language*, ECCV 2020; Chen et al., *Scan2Cap*, CVPR 2021.

    Raises:
        ScanError: broken JSON, or a field that is missing or of another kind.
    """
    return tuple(
        ReferringExpression(
            scan=entry.text("scene_id"),
            text=entry.text("description").strip(),
            objects=(entry.integer("object_id"),),
            class_name=entry.text("object_name").replace("_", " "),
            source="ScanRefer",
            id=f"{entry.text('scene_id')}-{entry.integer('object_id')}-{entry.integer('ann_id')}",
        )
        for entry in _entries(path)
    )


def read_multi3drefer(path: Path) -> tuple[ReferringExpression, ...]:
    """Multi3DRefer: sentences about none, one or several objects.

    Source: Zhang, Gong and Chang, *Multi3DRefer: Grounding Text Description to Multiple 3D
    Objects*, ICCV 2023.

    Raises:
        ScanError: as :func:`read_scanrefer`.
    """
    return tuple(
        ReferringExpression(
            scan=entry.text("scene_id"),
            text=entry.text("description").strip(),
            objects=integers(entry, "object_ids"),
            class_name=entry.text("object_name").replace("_", " "),
            source="Multi3DRefer",
            id=f"{entry.text('scene_id')}-{entry.integer('ann_id')}-{index}",
        )
        for index, entry in enumerate(_entries(path))
    )


def read_referit3d(path: Path) -> tuple[ReferringExpression, ...]:
    """Nr3D and Sr3D: CSV whose ``stimulus_id`` names scan, class, target and distractors.

    Nr3D's rows carry an ``assignmentid``; Sr3D's have none, and are told apart by it.

    Source: Achlioptas et al., *ReferIt3D: Neural Listeners for Fine-Grained 3D Object
    Identification in Real-World Scenes*, ECCV 2020.

    Raises:
        ScanError: no such table, or a ``stimulus_id`` that is none.
    """
    expressions = []
    for number, row in enumerate(read_csv(path, ("stimulus_id", "utterance")), start=2):
        scan, name, target, distractors = _stimulus(path, number, row["stimulus_id"])
        identity = row.get("assignmentid")
        expressions.append(
            ReferringExpression(
                scan=scan,
                text=row["utterance"].strip(),
                objects=(target,),
                class_name=name,
                source="Nr3D" if identity else "Sr3D",
                id=identity or f"{row['stimulus_id']}-{number}",
                distractors=distractors,
            )
        )
    return tuple(expressions)


def _stimulus(path: Path, number: int, text: str) -> tuple[str, str, int, tuple[int, ...]]:
    """``scene0525_00-plant-5-9-10-11-12-13``: scan, class, objects of it, target, distractors."""
    parts = text.split("-")
    if len(parts) > 3:
        # the class may hold the separator itself; what follows it is numbers alone
        numbers = len(parts)
        while numbers > 2 and parts[numbers - 1].isdecimal():
            numbers -= 1
        count, *objects = [int(part[:18]) for part in parts[numbers:]] or [0]
        if objects and count == len(objects) and numbers > 1:
            return parts[0], "-".join(parts[1:numbers]), objects[0], tuple(objects[1:])
    raise ScanError(
        path,
        f"line {number} has the stimulus_id {text[:60]!r}",
        "Write: scan-class-count-target-distractors, as in scene0525_00-plant-2-9-10",
    )


def read_scanqa(path: Path) -> tuple[ScanQuestion, ...]:
    """ScanQA; in its test files answers and objects are hidden, and so they are here.

    Source: Azuma et al., *ScanQA: 3D Question Answering for Spatial Scene Understanding*, CVPR
    2022.

    Raises:
        ScanError: as :func:`read_scanrefer`.
    """
    return tuple(
        ScanQuestion(
            scan=entry.text("scene_id"),
            text=entry.text("question").strip(),
            answers=texts(entry, "answers"),
            objects=integers(entry, "object_ids"),
            source="ScanQA",
            id=entry.text("question_id"),
        )
        for entry in _entries(path)
    )


def read_sqa3d(questions: Path, annotations: Path | None = None) -> tuple[ScanQuestion, ...]:
    """SQA3D: questions with a situation, and the file of their answers.

    The asker's heading is the turn about z of the annotation's quaternion.

    Source: Ma et al., *SQA3D: Situated Question Answering in 3D Scenes*, ICLR 2023.

    Args:
        questions: ``v1_balanced_questions_*.json``.
        annotations: ``v1_balanced_sqa_annotations_*.json``; None for questions without answers.

    Raises:
        ScanError: broken JSON, a field that is missing, or a question without its annotation.
    """
    answers = {} if annotations is None else _sqa3d_annotations(annotations)
    records = []
    for entry in Fields.read(questions).objects("questions"):
        identity = str(entry.integer("question_id"))
        annotation = answers.get(identity)
        if annotations is not None and annotation is None:
            raise ScanError(
                annotations,
                f"has no annotation of question {identity}",
                f"Take the file of the same split as {questions.name}",
            )
        records.append(_sqa3d_question(entry, identity, annotation))
    return tuple(records)


def _sqa3d_annotations(path: Path) -> dict[str, Fields]:
    entries = Fields.read(path).objects("annotations")
    return {str(entry.integer("question_id")): entry for entry in entries}


def _sqa3d_question(entry: Fields, identity: str, annotation: Fields | None) -> ScanQuestion:
    answers: tuple[str, ...] = ()
    position, heading = None, None
    if annotation is not None:
        given = list(annotation.objects("answers"))
        ordered = sorted(given, key=_confidence, reverse=True)
        answers = tuple(answer.text("answer") for answer in ordered)
        if "position" in annotation:
            place = Fields.of(annotation.path, annotation.values["position"], annotation.where)
            x, y, z = (place.number(axis) for axis in "xyz")
            position = (x, y, z)
        if "rotation" in annotation:
            turn = Fields.of(annotation.path, annotation.values["rotation"], annotation.where)
            heading = 2 * math.atan2(turn.number("_z"), turn.number("_w"))
    return ScanQuestion(
        scan=entry.text("scene_id"),
        text=entry.text("question").strip(),
        answers=answers,
        source="SQA3D",
        id=identity,
        situation=entry.text("situation").strip(),
        position=position,
        heading=heading,
    )


def _confidence(answer: Fields) -> bool:
    return answer.text("answer_confidence", "yes") == "yes"


def _entries(path: Path) -> list[Fields]:
    """The objects of a file that is a list."""
    value = read_json(path)
    if not isinstance(value, list):
        raise ScanError(path, f"is {type(value).__name__}, not a list", "Take the published file")
    return [Fields.of(path, entry, f"entry {index}") for index, entry in enumerate(value)]
