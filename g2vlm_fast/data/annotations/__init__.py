"""What people wrote about scans: objects, relations, referring expressions, questions."""

from g2vlm_fast.data.annotations.records import (
    AnnotationError,
    ObjectRelation,
    ReferringExpression,
    ScanAnnotations,
    ScanObject,
    ScanQuestion,
    join_language,
)

__all__ = [
    "AnnotationError",
    "ObjectRelation",
    "ReferringExpression",
    "ScanAnnotations",
    "ScanObject",
    "ScanQuestion",
    "join_language",
]
