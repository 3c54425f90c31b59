"""Checks of what is said of a scene in words, numbers and ids; all raise ``PredictionError``."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import fields
from typing import Any

from g2vlm_fast.data.interchange.arrays import PredictionError


def check_types(record: Any) -> None:
    """Check that every field of a record holds what its annotation says, ready to be written.

    What JSON cannot hold is refused: integers of numpy, tensors, NaN, half of a surrogate pair.
    """
    for field in fields(record):
        expected, fits = _TYPES.get(str(field.type), ("", _anything))
        value = getattr(record, field.name)
        if not fits(value):
            raise PredictionError(
                f"{field.name} of a {type(record).__name__} must be {expected}, got {value!r:.80}"
            )


def check_records(name: str, records: object, kind: type) -> None:
    """Check that a list holds records of one kind, each of which is well-formed."""
    if not isinstance(records, tuple) or not all(isinstance(each, kind) for each in records):
        raise PredictionError(f"{name} must be a tuple of {kind.__name__}, got {records!r:.80}")
    for record in records:
        check_types(record)


def check_once(what: str, entries: Iterable[object]) -> None:
    """Check that no entry comes twice."""
    seen: set[object] = set()
    for entry in entries:
        if entry in seen:
            raise PredictionError(f"{what} must differ, but {entry!r} comes twice")
        seen.add(entry)


def check_known(what: str, ids: Iterable[int], known: Collection[int]) -> None:
    """Check that ids are those of objects of the prediction."""
    absent = [name for name in ids if name not in known]
    if absent:
        raise PredictionError(f"{what} names object {absent[0]}, which is not among the objects")


def check_score(what: str, score: float) -> None:
    """Check that a score lies in [0, 1]."""
    if not 0 <= score <= 1:
        raise PredictionError(f"score of {what} must lie in [0, 1], got {score}")


def _anything(value: object) -> bool:
    return True


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _all(fits: Callable[[object], bool], count: int | None = None) -> Callable[[object], bool]:
    def every_one(value: object) -> bool:
        return (
            isinstance(value, tuple)
            and (count is None or len(value) == count)
            and all(map(fits, value))
        )

    return every_one


_TYPES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "str": ("a text", _is_text),
    "int": ("an int", _is_integer),
    "float": ("a finite int or float", _is_number),
    "float | None": ("a finite int or float, or None", lambda v: v is None or _is_number(v)),
    "tuple[int, ...]": ("a tuple of ints", _all(_is_integer)),
    "tuple[float, ...]": ("a tuple of finite ints or floats", _all(_is_number)),
    "tuple[float, float, float]": ("a tuple of three finite ints or floats", _all(_is_number, 3)),
    "tuple[tuple[float, float, float], ...]": (
        "a tuple of three tuples of three finite ints or floats",
        _all(_all(_is_number, 3), 3),
    ),
    "tuple[str, ...]": ("a tuple of texts", _all(_is_text)),
}
"""What a field must be, and how that is told, by its annotation."""
