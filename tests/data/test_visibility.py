"""What views see, and 3DSSG's names for relations."""

from __future__ import annotations

import pytest
import torch

from g2vlm_fast.data.language.predicates_3dssg import (
    FROM_3DSSG,
    ONLY_OURS,
    ONLY_THEIRS,
    PREDICATES_3DSSG,
    TO_3DSSG,
)
from g2vlm_fast.data.language.visibility import (
    all_relation_views,
    least_pixels,
    relation_views,
    visible_pixels,
)
from g2vlm_fast.ontology import RELATIONS


def test_pixels_are_counted_by_view_and_object() -> None:
    instance = torch.full((2, 48, 64), -1)
    instance[0, :2, :5] = 0
    instance[1, :, :] = 2
    found = visible_pixels(instance, 3)
    assert found.tolist() == [[10, 0, 0], [0, 0, 48 * 64]]
    assert visible_pixels(torch.full((0, 4, 4), -1), 3).shape == (0, 3)


def test_an_instance_without_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="must be -1 to 1 for 2 objects, got -1 to 5"):
        visible_pixels(torch.tensor([[[5, -1]]]), 2)


def test_a_relation_is_visible_where_all_its_objects_are() -> None:
    assert least_pixels((48, 64)) == 7
    assert least_pixels((240, 320)) == 154
    pixels = torch.tensor([[7, 7, 0], [6, 90, 90], [90, 90, 90]])
    assert relation_views(pixels, (48, 64), (0, 1)).tolist() == [True, False, True]
    assert relation_views(pixels, (48, 64), (0, 1, 2)).tolist() == [False, False, True]
    every = all_relation_views(pixels, (48, 64))
    assert torch.equal(every, every.mT)
    assert torch.equal(every[:, 0, 1], relation_views(pixels, (48, 64), (0, 1)))


def test_every_predicate_of_3dssg_and_every_relation_has_its_place() -> None:
    assert len(PREDICATES_3DSSG) == 27
    assert set(TO_3DSSG) | set(ONLY_OURS) == set(RELATIONS)
    assert not set(TO_3DSSG) & set(ONLY_OURS)
    assert set(FROM_3DSSG) | set(ONLY_THEIRS) == set(PREDICATES_3DSSG)
    assert not set(FROM_3DSSG) & set(ONLY_THEIRS)
    assert len(set(TO_3DSSG.values())) == len(TO_3DSSG)
    assert all(FROM_3DSSG[theirs] == ours for ours, theirs in TO_3DSSG.items())
