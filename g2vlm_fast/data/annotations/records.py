"""What people wrote about a scan: objects, relations, sentences and questions.

Boxes are in the world of the scene that carries the annotations, in metres. Objects keep the ids
and names of their source; nothing is renamed to :data:`g2vlm_fast.ontology.CLASSES` here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import transform_points


class AnnotationError(ValueError):
    """Annotations contradict themselves or the scene that they are joined to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanObject:
    """An annotated object.

    Attributes:
        id: of the source, unique in the scan.
        class_name: as the source writes it.
        center: ``[3]`` float32 metres; None where only the object's name is known.
        size: ``[3]`` float32 metres, full extents along the box axes.
        rotation: ``[3, 3]`` float32, box axes to world; its columns are the axes.
        vertices: ``[n]`` int64 rows of the scene's mesh that belong to it; None: not said.
    """

    id: int
    class_name: str
    center: Tensor | None = None
    size: Tensor | None = None
    rotation: Tensor | None = None
    vertices: Tensor | None = None
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ObjectRelation:
    """``subject`` stands in relation ``name`` to ``object``, both ids of objects."""

    subject: int
    object: int
    name: str


@dataclass(frozen=True, kw_only=True)
class ReferringExpression:
    """A sentence that singles out objects of a scan.

    Attributes:
        scan: id of the scan ("scene0000_00").
        text: the sentence.
        objects: ids of the objects meant; empty where none fits.
        class_name: what the source calls them.
        source: data set ("ScanRefer").
        id: of the sentence in its source, unique there.
        view_dependent: whether it holds from some viewpoints only; None: not said.
        distractors: ids of objects of the same class; None: not said.
    """

    scan: str
    text: str
    objects: tuple[int, ...]
    class_name: str
    source: str
    id: str
    view_dependent: bool | None = None
    distractors: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ScanQuestion:
    """A question about a scan.

    Attributes:
        scan: id of the scan.
        text: the question.
        answers: the accepted ones, the first the most common; empty in hidden test sets.
        objects: ids of the objects that it is about; empty where not said.
        source: data set ("ScanQA").
        id: of the question in its source.
        situation: where the asker stands, in words; empty where it does not matter.
        position: (x, y, z) metres of the asker in the scan's world; None: not said.
        heading: radians about z that the asker is turned by, from +x to +y; None: not said.
    """

    scan: str
    text: str
    answers: tuple[str, ...]
    source: str
    id: str
    objects: tuple[int, ...] = ()
    situation: str = ""
    position: tuple[float, float, float] | None = None
    heading: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanAnnotations:
    """Everything that was annotated in one scan.

    Raises:
        AnnotationError: ids of objects occur twice; a relation or a sentence names an object
            that does not exist.
    """

    objects: tuple[ScanObject, ...] = ()
    relations: tuple[ObjectRelation, ...] = ()
    expressions: tuple[ReferringExpression, ...] = ()
    questions: tuple[ScanQuestion, ...] = ()

    def __post_init__(self) -> None:
        ids = [thing.id for thing in self.objects]
        known = set(ids)
        if len(known) != len(ids):
            twice = sorted({name for name in ids if ids.count(name) > 1})
            raise AnnotationError(f"ScanAnnotations: objects {twice[:5]} occur more than once")
        named = [
            *((f"relation {r.name!r}", (r.subject, r.object)) for r in self.relations),
            *((f"expression {e.id}", e.objects) for e in self.expressions),
        ]
        for what, wanted in named:
            absent = [name for name in wanted if name not in known]
            if absent:
                raise AnnotationError(
                    f"ScanAnnotations: {what} names object {absent[0]}, which is not among the "
                    f"{len(known)} objects of the scan"
                )

    def object_by_id(self, object_id: int) -> ScanObject:
        """The object with an id.

        Raises:
            KeyError: there is none.
        """
        for thing in self.objects:
            if thing.id == object_id:
                return thing
        raise KeyError(f"no object has id {object_id}")

    def moved(self, transform: Tensor) -> ScanAnnotations:
        """The same annotations in a world moved by ``transform [4, 4]``, a rigid motion."""
        objects = tuple(_moved_object(thing, transform) for thing in self.objects)
        questions = tuple(_moved_question(question, transform) for question in self.questions)
        return replace(self, objects=objects, questions=questions)


def _moved_object(thing: ScanObject, transform: Tensor) -> ScanObject:
    if thing.center is None or thing.rotation is None:
        return thing
    center = transform_points(transform.double(), thing.center[None].double())[0].float()
    rotation = (transform[:3, :3].double() @ thing.rotation.double()).float()
    return replace(thing, center=center, rotation=rotation)


def _moved_question(question: ScanQuestion, transform: Tensor) -> ScanQuestion:
    if question.position is None:
        return question
    moved = transform_points(transform.double(), torch.tensor([question.position]).double())[0]
    x, y, z = moved.tolist()
    turn = float(torch.atan2(transform[1, 0], transform[0, 0]))
    heading = None if question.heading is None else question.heading + turn
    return replace(question, position=(x, y, z), heading=heading)


def join_language(
    annotations: ScanAnnotations | None,
    scan: str,
    *,
    expressions: tuple[ReferringExpression, ...] = (),
    questions: tuple[ScanQuestion, ...] = (),
    named_by: Path | str = "annotations",
) -> ScanAnnotations:
    """Give a scan the sentences and questions that are about it.

    Args:
        annotations: what is known of the scan; None for nothing.
        scan: its id; records of other scans are passed over.
        expressions: of any scans.
        questions: of any scans.
        named_by: the file of the records, for messages.

    Raises:
        AnnotationError: the scan has objects, and a sentence names one that is not among them.
    """
    known = annotations or ScanAnnotations()
    mine = tuple(record for record in expressions if record.scan == scan)
    objects = known.objects or _objects_named_by(mine)
    try:
        return replace(
            known,
            objects=objects,
            expressions=(*known.expressions, *mine),
            questions=(*known.questions, *(q for q in questions if q.scan == scan)),
        )
    except AnnotationError as error:
        raise AnnotationError(f"{named_by}: {error}; are both of {scan}?") from error


def _objects_named_by(expressions: tuple[ReferringExpression, ...]) -> tuple[ScanObject, ...]:
    """Objects without a place, from the sentences about them."""
    names: dict[int, str] = {}
    for expression in expressions:
        for object_id in expression.objects:
            names.setdefault(object_id, expression.class_name)
    return tuple(ScanObject(id=i, class_name=name) for i, name in sorted(names.items()))
