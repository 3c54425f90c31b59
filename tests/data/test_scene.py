"""A Scene refuses what would be answered silently wrong, and names the field."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from g2vlm_fast.data import Scene


def fields(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": "kitchen",
        "images": torch.zeros(2, 3, 4, 5, dtype=torch.uint8),
        "intrinsics": torch.tensor([[5.0, 0, 2], [0, 5.0, 1.5], [0, 0, 1]]).repeat(2, 1, 1),
        "poses": torch.eye(4).repeat(2, 1, 1),
    }
    return plain | changes


def test_images_intrinsics_and_poses_are_enough() -> None:
    scene = Scene(**fields())
    assert scene.num_views == 2
    assert scene.image_size == (4, 5)
    assert scene.gravity.tolist() == [0, 0, -1]
    assert scene.truth is None


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.zeros(2, 3, 4, 5)}, TypeError, r"images must be torch.uint8"),
        ({"images": None}, TypeError, "images must be a torch.Tensor, got NoneType"),
        ({"images": torch.zeros(0, 3, 4, 5, dtype=torch.uint8), "intrinsics": torch.zeros(0, 3, 3),
          "poses": torch.zeros(0, 4, 4)}, ValueError, "images are empty"),
        ({"poses": torch.eye(4).repeat(3, 1, 1)}, ValueError, r"poses must have shape \[2, 4, 4\]"),
        ({"poses": torch.eye(4).repeat(2, 1, 1) * 2}, ValueError, "poses must be rigid"),
        ({"poses": torch.full((2, 4, 4), torch.nan)}, ValueError, "poses must be finite"),
        ({"poses": torch.diag(torch.tensor([1.0, 1, -1, 1])).repeat(2, 1, 1)}, ValueError, "rigid"),
        ({"intrinsics": torch.zeros(2, 3, 3)}, ValueError, "positive focal lengths"),
        ({"depth": torch.zeros(2, 4, 6)}, ValueError, r"depth must have shape \[2, 4, 5\]"),
        ({"depth": torch.full((2, 4, 5), -1.0)}, ValueError, "depth must be 0"),
        ({"depth": torch.full((2, 4, 5), torch.inf)}, ValueError, "depth must be finite"),
        ({"depth": torch.zeros(2, 4, 5).double()}, TypeError, "depth must be torch.float32"),
        ({"depth_sigma": torch.zeros(2, 4, 5)}, ValueError, "depth_sigma must be given together"),
        ({"gravity": torch.tensor([0.0, 0, -9.81])}, ValueError, "gravity must be a unit vector"),
        ({"faces": torch.zeros(1, 3).int()}, ValueError, "faces must be given together"),
        ({"vertices": torch.zeros(3, 3), "faces": torch.tensor([[0, 1, 3]], dtype=torch.int32)},
         ValueError, "faces must be indices below the 3 vertices"),
        ({"vertices": torch.zeros(3, 3), "vertex_normals": torch.zeros(2, 3)}, ValueError,
         r"vertex_normals must have shape \[3, 3\]"),
    ],
)  # fmt: skip
def test_bad_fields_are_named(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"scene 'kitchen': .*{message}"):
        Scene(**fields(**changes))
