"""Files of sentences and questions about scans, told apart by what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from g2vlm_fast.data.annotations.language import (
    read_multi3drefer,
    read_referit3d,
    read_scanqa,
    read_scanrefer,
    read_sqa3d,
)
from g2vlm_fast.data.annotations.records import (
    AnnotationError,
    ReferringExpression,
    ScanAnnotations,
    ScanQuestion,
    join_language,
)
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.safe_files import read_json

_KNOWN = "ScanRefer, Scan2Cap, Multi3DRefer, Nr3D, Sr3D, ScanQA or SQA3D"


class Sentences(NamedTuple):
    """What files say about any number of scans."""

    expressions: tuple[ReferringExpression, ...] = ()
    questions: tuple[ScanQuestion, ...] = ()


def read_sentences(paths: Sequence[Path]) -> Sentences:
    """Read files of the data sets of :mod:`g2vlm_fast.data.annotations.language`, in any order.

    Args:
        paths: CSV and JSON files as published; of SQA3D the file of questions, and the one of
            answers where there is one.

    Raises:
        ScanError: a file that is none of them, or broken; answers of SQA3D without questions.
    """
    expressions: list[ReferringExpression] = []
    questions: list[ScanQuestion] = []
    kinds = {path: _kind(path) for path in paths}
    answers = [path for path, kind in kinds.items() if kind == "SQA3D answers"]
    asking = [path for path, kind in kinds.items() if kind == "SQA3D questions"]
    if len(answers) > 1 or (answers and len(asking) != 1):
        raise ScanError(
            answers[0],
            f"holds the answers of SQA3D, and {len(asking)} files hold its questions",
            "Name one file of questions and one of answers, of the same split",
        )
    for path, kind in kinds.items():
        if kind in _EXPRESSION_READERS:
            expressions += _EXPRESSION_READERS[kind](path)
        elif kind == "ScanQA":
            questions += read_scanqa(path)
        elif kind == "SQA3D questions":
            questions += read_sqa3d(path, answers[0] if answers else None)
    return Sentences(tuple(expressions), tuple(questions))


_EXPRESSION_READERS = {
    "ReferIt3D": read_referit3d,
    "ScanRefer": read_scanrefer,
    "Multi3DRefer": read_multi3drefer,
}


def join_sentences(
    annotations: ScanAnnotations | None, scan: str, paths: Sequence[Path]
) -> ScanAnnotations:
    """Give a scan what files say about it.

    Args:
        annotations: what is known of the scan; None for nothing.
        scan: its id, as the files write it.
        paths: as of :func:`read_sentences`.

    Raises:
        ScanError: as :func:`read_sentences`; nothing in the files is about the scan, or they name
            objects that it does not have.
    """
    sentences = read_sentences(paths)
    named = ", ".join(str(path) for path in paths)
    spoken_of = {record.scan for record in sentences.expressions}
    about = sorted(spoken_of | {question.scan for question in sentences.questions})
    if scan not in about:
        others = ", ".join(about[:3]) + (", ..." if len(about) > 3 else "")
        raise ScanError(
            named,
            f"says nothing about the scan {scan!r}, only about {others or 'none'}",
            "Name the folder of the scan as its data set does, or other files",
        )
    try:
        return join_language(
            annotations, scan, expressions=sentences.expressions, questions=sentences.questions
        )
    except AnnotationError as error:
        raise ScanError(named, str(error), "Give the annotations of the same scan") from error


def _kind(path: Path) -> str:
    """Which data set a file is of."""
    if path.suffix.lower() == ".csv":
        return "ReferIt3D"
    value = read_json(path)
    if isinstance(value, Mapping):
        for field in ("questions", "annotations"):
            if field in value:
                return "SQA3D questions" if field == "questions" else "SQA3D answers"
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for field, kind in (
            ("question", "ScanQA"), ("object_ids", "Multi3DRefer"), ("object_id", "ScanRefer"),
        ):  # fmt: skip
            if field in value[0]:
                return kind
    raise ScanError(path, f"holds no sentences of {_KNOWN}", "Take the published file")
