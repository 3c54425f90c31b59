"""What a model tells apart: names to ids, and which of all labels are its own."""

from __future__ import annotations

import pytest

from g2vlm_fast.ontology import (
    CLASSES,
    EVERYTHING,
    INVERSE,
    RELATIONS,
    SIMPLE,
    SYMMETRIC_RELATIONS,
    Ontology,
)


def test_simple_names_come_first_so_that_their_ids_stay() -> None:
    assert EVERYTHING.class_ids(SIMPLE.classes) == list(range(len(SIMPLE.classes)))
    assert SIMPLE.relation_columns == list(range(len(SIMPLE.relations)))
    assert EVERYTHING.relation_columns == list(range(len(RELATIONS)))


def test_ids_are_in_the_order_of_the_model() -> None:
    assert Ontology(("bed", "table"), ("near", "on")).class_ids(["table", "bed"]) == [1, 0]
    assert Ontology(("bed",), ("near", "on")).relation_columns == [
        RELATIONS.index("near"),
        RELATIONS.index("on"),
    ]


def test_unknown_and_repeated_names_are_refused() -> None:
    with pytest.raises(ValueError, match="piano"):
        SIMPLE.class_ids(["table", "piano"])
    with pytest.raises(ValueError, match="bed"):
        Ontology(("bed", "bed"))
    with pytest.raises(ValueError, match="beside"):
        Ontology(CLASSES, ("beside",))


def test_inverses_are_mutual_and_nothing_is_both_inverse_and_symmetric() -> None:
    assert all(INVERSE[INVERSE[name]] == name for name in INVERSE)
    assert not set(INVERSE) & set(SYMMETRIC_RELATIONS)
    assert {*INVERSE, *SYMMETRIC_RELATIONS} <= set(RELATIONS)
