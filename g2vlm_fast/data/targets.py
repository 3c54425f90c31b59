"""The truth of rooms, packed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.observation import Visibility
from g2vlm_fast.data.rendering.sampling import sample_queries, sample_surface
from g2vlm_fast.data.resize import nearest, resized_depth
from g2vlm_fast.data.scene import RoomTruth, Scene
from g2vlm_fast.ontology import Ontology


def offsets_of(sizes: Sequence[int]) -> Tensor:
    """Offsets ``[len(sizes) + 1]`` int32 of segments of the given sizes."""
    return torch.tensor([0, *sizes]).cumsum(0).to(torch.int32)


def pixel_targets(truths: Sequence[RoomTruth], image_size: tuple[int, int]) -> dict[str, Tensor]:
    return {
        "depth": torch.cat([resized_depth(truth.depth, image_size) for truth in truths]),
        "normal": torch.cat([nearest(truth.normal, image_size) for truth in truths]),
        "instance": torch.cat([nearest(truth.instance, image_size) for truth in truths]),
    }


def object_targets(truths: Sequence[RoomTruth], ontology: Ontology) -> dict[str, Tensor]:
    counts = [len(truth.objects) for truth in truths]
    boxes = [truth.boxes() for truth in truths]
    names = (thing.class_name for truth in truths for thing in truth.objects)
    columns = ontology.relation_columns
    pairs, labels = [], []
    for truth, start in zip(truths, offsets_of(counts).tolist(), strict=False):
        different = ~torch.eye(len(truth.objects), dtype=torch.bool)
        pairs.append(different.nonzero() + start)
        labels.append(truth.relations[different][:, columns])
    return {
        "box_center": torch.cat([center for center, _, _ in boxes]),
        "box_size": torch.cat([size for _, size, _ in boxes]),
        "box_rotation": torch.cat([rotation for _, _, rotation in boxes]),
        "object_class": torch.tensor(ontology.class_ids(names), dtype=torch.int64),
        "object_offsets": offsets_of(counts),
        "relation_pairs": torch.cat(pairs),
        "relation_labels": torch.cat(labels),
        "relation_offsets": offsets_of([count * (count - 1) for count in counts]),
    }


def surface_targets(
    truths: Sequence[RoomTruth], count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    if count == 0:
        return {}
    samples = [sample_surface(truth.primitives, count, generator) for truth in truths]
    return {
        "surface_points": torch.cat([points for points, _, _ in samples]),
        "surface_normals": torch.cat([normals for _, normals, _ in samples]),
        "surface_offsets": offsets_of([count] * len(truths)),
    }


def distance_targets(
    scenes: Sequence[Scene], truths: Sequence[RoomTruth], count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    if count == 0:
        return {}
    samples = [
        sample_queries(
            truth.primitives,
            truth.room_size,
            scene.intrinsics,
            scene.poses,
            scene.image_size,
            count,
            generator,
        )
        for scene, truth in zip(scenes, truths, strict=True)
    ]
    return {
        "query_points": torch.cat([points for points, _, _ in samples]),
        "query_distance": torch.cat([distance for _, distance, _ in samples]),
        "query_observed": torch.cat([known for _, _, known in samples]) == Visibility.OBSERVED,
        "query_offsets": offsets_of([count] * len(truths)),
    }
