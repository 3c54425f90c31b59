"""Scenes and their texts, packed into one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.data.answers import AnswerVocabulary
from g2vlm_fast.data.sampling import sample_queries, sample_surface
from g2vlm_fast.data.scene import Query, RoomTruth, Scene
from g2vlm_fast.geometry.cameras import scale_intrinsics
from g2vlm_fast.ontology import CLASSES
from g2vlm_fast.records import SceneBatch, Targets

_ONE_SURFACE = 1.05  # ratio of depths between neighbours up to which a surface is smooth

Tokenize = Callable[[list[str]], Any]
"""Texts to token ids: a list of id lists, or a mapping with such a list as ``"input_ids"``, as
the tokenizers of Hugging Face return it when they are not asked to pad or to make tensors."""


def collate(
    scenes: Sequence[Scene],
    queries: Sequence[Sequence[Query]] | None = None,
    *,
    image_size: tuple[int, int],
    tokenize: Tokenize | None = None,
    answer_vocabulary: AnswerVocabulary | None = None,
    num_surface_points: int = 1024,
    num_query_points: int = 512,
    seed: int = 0,
) -> tuple[SceneBatch, Targets]:
    """Pack scenes into a batch and what is known of them into targets.

    Images are resized with antialiasing, depth within surfaces and never across an edge, all
    other maps by their nearest pixel; intrinsics follow. Where some scenes have depth and
    others do not, the others' is 0 (missing); scenes without vertices get an empty segment.
    Targets of rooms are there if all scenes have truth and None if none has; answers are there
    for all texts, and a query without an answer gets an empty segment, without ``<end>``.

    Args:
        scenes: B of them, of any image sizes and numbers of views.
        queries: the texts of every scene; None for a batch without texts.
        image_size: (height, width) in pixels.
        tokenize: the tokenizer of the language encoder; needed with queries.
        answer_vocabulary: the words of answers; needed with queries.
        num_surface_points: surface samples per scene with truth; 0 for none.
        num_query_points: signed-distance queries per scene with truth; 0 for none.
        seed: of the samples.

    Raises:
        ValueError: no scenes; texts without tokenizer or vocabulary; only some of the scenes
            have truth, noise levels of depth, vertex normals or vertex colours.
    """
    if not scenes:
        raise ValueError("collate: scenes must not be empty")
    if queries is not None and len(queries) != len(scenes):
        raise ValueError(
            f"collate: queries must hold one list per scene ({len(scenes)}), got {len(queries)}"
        )
    with_truth = _all_or_none(scenes, "truth", [scene.truth is not None for scene in scenes])
    batch = {**_views(scenes, image_size), **_vertices(scenes)}
    targets: dict[str, Tensor] = {}
    if with_truth:
        truths = [scene.truth for scene in scenes if scene.truth is not None]
        generator = torch.Generator().manual_seed(seed)
        targets |= _pixel_targets(truths, image_size)
        targets |= _object_targets(truths)
        targets |= _surface_targets(truths, num_surface_points, generator)
        targets |= _distance_targets(scenes, truths, num_query_points, generator)
    if queries is not None:
        batch |= _texts(queries, tokenize)
        targets |= _answers(scenes, queries, answer_vocabulary)
    return SceneBatch(**batch), Targets(**targets)


def _offsets(sizes: Sequence[int]) -> Tensor:
    return torch.tensor([0, *sizes]).cumsum(0).to(torch.int32)


def _all_or_none(scenes: Sequence[Scene], what: str, present: list[bool]) -> bool:
    if any(present) and not all(present):
        lacking = [scene.name for scene, has in zip(scenes, present, strict=True) if not has]
        raise ValueError(
            f"collate: all scenes of a batch must have {what}, or none; {lacking} lack it. "
            "Batch them apart, or fill it in"
        )
    return all(present) and bool(present)


def _source_coordinates(old: int, new: int) -> Tensor:
    """Where the centres of ``new`` pixels lie among ``old`` ones, float64."""
    return (torch.arange(new, dtype=torch.float64) + 0.5) * (old / new) - 0.5


def _nearest(maps: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resize ``[V, ..., H, W]`` maps by the nearest pixel, halves going down and right."""
    if maps.shape[-2:] == image_size:
        return maps
    row, column = (
        (_source_coordinates(old, new) + 0.5).long().clamp(0, old - 1)
        for new, old in zip(image_size, maps.shape[-2:], strict=True)
    )
    return maps[..., row[:, None], column[None, :]]


def _resized_depth(depth: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resize ``[V, H, W]`` depth; what it says about a plane stays on that plane.

    Where the four pixels about a new centre are of one surface (all there, and within 5 %), their
    inverse depths are interpolated, as planes are linear in inverse depth; elsewhere the nearest
    pixel is taken as it is, so that no depth between two surfaces comes about.
    """
    if depth.shape[-2:] == image_size:
        return depth
    height, width = depth.shape[-2:]
    row = _source_coordinates(height, image_size[0]).clamp(0, height - 1)[:, None]
    column = _source_coordinates(width, image_size[1]).clamp(0, width - 1)[None, :]
    top, left = row.long(), column.long()
    bottom, right = (top + 1).clamp_max(height - 1), (left + 1).clamp_max(width - 1)
    down, across = (row - top).float(), (column - left).float()
    about = torch.stack([depth[..., y, x] for y in (top, bottom) for x in (left, right)])
    low, high = about.amin(0), about.amax(0)
    weight = torch.stack([(1 - down) * (1 - across), (1 - down) * across,
                          down * (1 - across), down * across])  # fmt: skip
    inverse = (weight[:, None] / about.clamp_min(1e-6)).sum(0)
    one_surface = (low > 0) & (high <= _ONE_SURFACE * low)
    return torch.where(one_surface, inverse.reciprocal(), _nearest(depth, image_size))


def _resized_images(images: Tensor, image_size: tuple[int, int]) -> Tensor:
    values = images.float() / 255
    if values.shape[-2:] == image_size:
        return values
    values = F.interpolate(values, image_size, mode="bilinear", align_corners=False, antialias=True)
    return values.clamp(0, 1)


def _views(scenes: Sequence[Scene], image_size: tuple[int, int]) -> dict[str, Tensor]:
    fields = {
        "images": torch.cat([_resized_images(scene.images, image_size) for scene in scenes]),
        "intrinsics": torch.cat(
            [scale_intrinsics(scene.intrinsics, scene.image_size, image_size) for scene in scenes]
        ),
        "poses": torch.cat([scene.poses for scene in scenes]),
        "gravity": torch.stack([scene.gravity for scene in scenes]),
        "view_offsets": _offsets([scene.num_views for scene in scenes]),
    }
    measured = [scene for scene in scenes if scene.depth is not None]
    if not measured:
        return fields
    nothing = [torch.zeros(scene.num_views, *image_size) for scene in scenes]
    fields["depth"] = torch.cat(
        [
            zeros if scene.depth is None else _resized_depth(scene.depth, image_size)
            for scene, zeros in zip(scenes, nothing, strict=True)
        ]
    )
    if _all_or_none(measured, "depth_sigma", [s.depth_sigma is not None for s in measured]):
        fields["depth_sigma"] = torch.cat(
            [
                zeros if scene.depth_sigma is None else _nearest(scene.depth_sigma, image_size)
                for scene, zeros in zip(scenes, nothing, strict=True)
            ]
        )
    return fields


def _vertices(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    meshed = [scene for scene in scenes if scene.vertices is not None]
    if not meshed:
        return {}
    sizes = [0 if scene.vertices is None else len(scene.vertices) for scene in scenes]
    offsets = _offsets(sizes)
    fields = {"vertex_offsets": offsets}
    for name in ("vertices", "vertex_normals", "vertex_colors"):
        values = [getattr(scene, name) for scene in meshed]
        if _all_or_none(meshed, name, [value is not None for value in values]):
            fields[name] = torch.cat(values)
    starts = offsets.tolist()
    faces = [
        s.faces + start for s, start in zip(scenes, starts, strict=False) if s.faces is not None
    ]
    if faces:
        fields["faces"] = torch.cat(faces)
    return fields


def _pixel_targets(truths: Sequence[RoomTruth], image_size: tuple[int, int]) -> dict[str, Tensor]:
    return {
        "depth": torch.cat([_resized_depth(truth.depth, image_size) for truth in truths]),
        "normal": torch.cat([_nearest(truth.normal, image_size) for truth in truths]),
        "instance": torch.cat([_nearest(truth.instance, image_size) for truth in truths]),
    }


def _object_targets(truths: Sequence[RoomTruth]) -> dict[str, Tensor]:
    counts = [len(truth.objects) for truth in truths]
    boxes = [truth.boxes() for truth in truths]
    classes = [CLASSES.index(thing.class_name) for truth in truths for thing in truth.objects]
    pairs, labels = [], []
    for truth, start in zip(truths, _offsets(counts).tolist(), strict=False):
        different = ~torch.eye(len(truth.objects), dtype=torch.bool)
        pairs.append(different.nonzero() + start)
        labels.append(truth.relations[different])
    return {
        "box_center": torch.cat([center for center, _, _ in boxes]),
        "box_size": torch.cat([size for _, size, _ in boxes]),
        "box_rotation": torch.cat([rotation for _, _, rotation in boxes]),
        "object_class": torch.tensor(classes, dtype=torch.int64),
        "object_offsets": _offsets(counts),
        "relation_pairs": torch.cat(pairs),
        "relation_labels": torch.cat(labels),
        "relation_offsets": _offsets([count * (count - 1) for count in counts]),
    }


def _surface_targets(
    truths: Sequence[RoomTruth], count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    if count == 0:
        return {}
    samples = [sample_surface(truth.primitives, count, generator) for truth in truths]
    return {
        "surface_points": torch.cat([points for points, _, _ in samples]),
        "surface_normals": torch.cat([normals for _, normals, _ in samples]),
        "surface_offsets": _offsets([count] * len(truths)),
    }


def _distance_targets(
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
        "query_observed": torch.cat([observed for _, _, observed in samples]),
        "query_offsets": _offsets([count] * len(truths)),
    }


def _texts(queries: Sequence[Sequence[Query]], tokenize: Tokenize | None) -> dict[str, Tensor]:
    if tokenize is None:
        raise ValueError("collate: tokenize must be given together with queries")
    texts = [query.text for of_scene in queries for query in of_scene]
    tokenized = tokenize(texts) if texts else []
    ids = tokenized["input_ids"] if isinstance(tokenized, Mapping) else tokenized
    if len(ids) != len(texts) or not all(len(tokens) for tokens in ids):
        raise ValueError(
            "collate: tokenize must return at least one token id for each of the "
            f"{len(texts)} texts, got {[len(tokens) for tokens in ids]} ids"
        )
    scene = [index for index, of_scene in enumerate(queries) for _ in of_scene]
    flat = [token for tokens in ids for token in tokens]
    return {
        "text_ids": torch.tensor(flat, dtype=torch.int64),
        "text_offsets": _offsets([len(tokens) for tokens in ids]),
        "text_scene": torch.tensor(scene, dtype=torch.int64),
    }


def _answers(
    scenes: Sequence[Scene],
    queries: Sequence[Sequence[Query]],
    answer_vocabulary: AnswerVocabulary | None,
) -> dict[str, Tensor]:
    if answer_vocabulary is None:
        raise ValueError("collate: answer_vocabulary must be given together with queries")
    counts = [0 if scene.truth is None else len(scene.truth.objects) for scene in scenes]
    starts = _offsets(counts).tolist()
    tasks, answers, values, referred = [], [], [], []
    for scene, of_scene, start, count in zip(scenes, queries, starts, counts, strict=False):
        for query in of_scene:
            if query.referred is not None and not 0 <= query.referred < count:
                raise ValueError(
                    f"collate: query {query.text!r} refers to object {query.referred}, but scene "
                    f"{scene.name!r} has truth about {count} objects"
                )
            tasks.append(int(query.task))
            answers.append([] if query.answer is None else answer_vocabulary.encode(query.answer))
            values.append(float("nan") if query.value is None else query.value)
            referred.append(-1 if query.referred is None else start + query.referred)
    return {
        "text_task": torch.tensor(tasks, dtype=torch.int64),
        "answer_ids": torch.tensor([i for ids in answers for i in ids], dtype=torch.int64),
        "answer_offsets": _offsets([len(ids) for ids in answers]),
        "answer_value": torch.tensor(values, dtype=torch.float32),
        "referred_object": torch.tensor(referred, dtype=torch.int64),
    }
