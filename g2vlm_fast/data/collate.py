"""Scenes and their texts, packed into one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.data.language.answers import AnswerVocabulary
from g2vlm_fast.data.resize import nearest, resized_depth, resized_images
from g2vlm_fast.data.scene import Query, Scene
from g2vlm_fast.data.targets import (
    distance_targets,
    object_targets,
    offsets_of,
    pixel_targets,
    surface_targets,
)
from g2vlm_fast.geometry.cameras import scale_intrinsics
from g2vlm_fast.ontology import EVERYTHING, Ontology
from g2vlm_fast.records import SceneBatch, Targets

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
    ontology: Ontology = EVERYTHING,
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
        ontology: the classes and relations of the model; all of them unless said.
        num_surface_points: surface samples per scene with truth; 0 for none.
        num_query_points: signed-distance queries per scene with truth; 0 for none.
        seed: of the samples.

    Raises:
        ValueError: no scenes; texts without tokenizer or vocabulary; only some of the scenes
            have truth, noise levels of depth, vertex normals or vertex colours; an object of
            a class that the ontology lacks.
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
        targets |= pixel_targets(truths, image_size)
        targets |= object_targets(truths, ontology)
        targets |= surface_targets(truths, num_surface_points, generator)
        targets |= distance_targets(scenes, truths, num_query_points, generator)
    if queries is not None:
        batch |= _texts(queries, tokenize)
        targets |= _answers(scenes, queries, answer_vocabulary)
    return SceneBatch(**batch), Targets(**targets)


def _all_or_none(scenes: Sequence[Scene], what: str, present: list[bool]) -> bool:
    if any(present) and not all(present):
        lacking = [scene.name for scene, has in zip(scenes, present, strict=True) if not has]
        raise ValueError(
            f"collate: all scenes of a batch must have {what}, or none; {lacking} lack it. "
            "Batch them apart, or fill it in"
        )
    return all(present) and bool(present)


def _views(scenes: Sequence[Scene], image_size: tuple[int, int]) -> dict[str, Tensor]:
    fields = {
        "images": torch.cat([resized_images(scene.images, image_size) for scene in scenes]),
        "intrinsics": torch.cat(
            [scale_intrinsics(scene.intrinsics, scene.image_size, image_size) for scene in scenes]
        ),
        "poses": torch.cat([scene.poses for scene in scenes]),
        "gravity": torch.stack([scene.gravity for scene in scenes]),
        "view_offsets": offsets_of([scene.num_views for scene in scenes]),
    }
    measured = [scene for scene in scenes if scene.depth is not None]
    if not measured:
        return fields
    nothing = [torch.zeros(scene.num_views, *image_size) for scene in scenes]
    fields["depth"] = torch.cat(
        [
            zeros if scene.depth is None else resized_depth(scene.depth, image_size)
            for scene, zeros in zip(scenes, nothing, strict=True)
        ]
    )
    if _all_or_none(measured, "depth_sigma", [s.depth_sigma is not None for s in measured]):
        fields["depth_sigma"] = torch.cat(
            [
                zeros if scene.depth_sigma is None else nearest(scene.depth_sigma, image_size)
                for scene, zeros in zip(scenes, nothing, strict=True)
            ]
        )
    return fields


def _vertices(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    meshed = [scene for scene in scenes if scene.vertices is not None]
    if not meshed:
        return {}
    sizes = [0 if scene.vertices is None else len(scene.vertices) for scene in scenes]
    offsets = offsets_of(sizes)
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
        "text_offsets": offsets_of([len(tokens) for tokens in ids]),
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
    starts = offsets_of(counts).tolist()
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
        "answer_offsets": offsets_of([len(ids) for ids in answers]),
        "answer_value": torch.tensor(values, dtype=torch.float32),
        "referred_object": torch.tensor(referred, dtype=torch.int64),
    }
