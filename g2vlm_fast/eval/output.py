"""What a model said of one scene, cut out of a packed prediction and brought to the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from g2vlm_fast.eval.heads.spatial import Graph
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.priors import Array, Objects
from g2vlm_fast.records import GeometryTokens, Prediction, SceneBatch


@dataclass(frozen=True)
class TextOutput:
    """What a model said of one text: which detection it means, and where it looks."""

    choice: int  # of the candidates of the scene, -1 where there is none
    anchors: Array  # [n, 3] metres, of its tokens and heads
    embedding: Array  # [C] unit norm


@dataclass(frozen=True)
class SceneOutput:
    """What a model said of one scene; world frame, metres."""

    depth: Tensor  # [V, H, W]
    normal: Tensor  # [V, 3, H, W]
    points: Tensor  # [n, 3] completion points
    tokens: Tensor  # [m, 3] positions of the geometry tokens
    extents: Tensor  # [m] what each token stands for
    distance: Tensor  # [Q] at the query points
    objects: Objects  # detections: objectness above one half
    candidates: Objects  # all predicted objects
    objectness: Array  # [K] probability of each candidate
    graph: Graph  # between detections, a predicate asserted above one half
    embedding: Array  # [C] unit norm
    texts: list[TextOutput]


def scene_outputs(
    prediction: Prediction, batch: SceneBatch, tokens: GeometryTokens, query_offsets: Tensor
) -> list[SceneOutput]:
    """Cut a prediction of ``model(batch, targets)`` into its scenes.

    Raises:
        ValueError: the prediction lacks a field, because the model was not asked for it.
    """
    prediction, batch, tokens = prediction.to("cpu"), batch.to("cpu"), tokens.to("cpu")
    query_offsets = query_offsets.cpu()
    return [
        _scene_output(prediction, batch, tokens, query_offsets, index)
        for index in range(batch.num_scenes)
    ]


def rows_of(offsets: Tensor | None, index: int) -> slice:
    """Return the rows of segment ``index``."""
    if offsets is None:
        raise ValueError("the prediction lacks offsets; ask the model for every head")
    return slice(int(offsets[index]), int(offsets[index + 1]))


def _need(prediction: Prediction, name: str) -> Tensor:
    value = getattr(prediction, name)
    if value is None:
        raise ValueError(f"the prediction lacks {name}; collate texts and query points with it")
    tensor: Tensor = value
    return tensor.float() if tensor.is_floating_point() else tensor


def _scene_output(
    prediction: Prediction,
    batch: SceneBatch,
    tokens: GeometryTokens,
    query_offsets: Tensor,
    index: int,
) -> SceneOutput:
    views = rows_of(batch.view_offsets, index)
    found = rows_of(prediction.object_offsets, index)
    objectness = _need(prediction, "objectness")[found].double().sigmoid().numpy()
    kept = objectness > 0.5
    return SceneOutput(
        depth=_need(prediction, "depth")[views],
        normal=_need(prediction, "normal")[views],
        points=_need(prediction, "points")[rows_of(prediction.point_offsets, index)],
        tokens=tokens.position[rows_of(tokens.offsets, index)],
        extents=tokens.scale[rows_of(tokens.offsets, index)],
        distance=_need(prediction, "query_distance")[rows_of(query_offsets, index)],
        objects=_objects(prediction, found, kept),
        candidates=_objects(prediction, found, np.ones_like(kept)),
        objectness=objectness,
        graph=_graph(prediction, index, found, kept),
        embedding=_need(prediction, "scene_embedding")[index].numpy(),
        texts=_texts(prediction, batch, index),
    )


def _objects(prediction: Prediction, found: slice, kept: np.ndarray) -> Objects:
    boxes = Boxes(
        *(
            _need(prediction, name)[found].double().numpy()[kept]
            for name in ("box_center", "box_size", "box_rotation")
        )
    )
    classes = _need(prediction, "class_logits")[found].argmax(-1).numpy()[kept]
    return Objects(boxes, classes)


def _graph(prediction: Prediction, index: int, found: slice, kept: np.ndarray) -> Graph:
    rows = rows_of(prediction.relation_offsets, index)
    pairs = _need(prediction, "relation_pairs")[rows].numpy() - found.start
    asserted = (_need(prediction, "relation_logits")[rows] > 0).numpy()
    between = kept[pairs].all(-1)
    place = np.cumsum(kept) - 1
    return Graph(place[pairs[between]], asserted[between])


def _texts(prediction: Prediction, batch: SceneBatch, index: int) -> list[TextOutput]:
    if batch.text_scene is None:
        return []
    logits, embedding = _need(prediction, "grounding_logits"), _need(prediction, "text_embedding")
    position = _need(prediction, "anchor_position")
    texts = []
    for text in (batch.text_scene == index).nonzero()[:, 0].tolist():
        scores = logits[rows_of(prediction.grounding_offsets, text)].numpy()
        words = rows_of(batch.text_offsets, text)
        texts.append(
            TextOutput(
                choice=int(scores.argmax()) if len(scores) else -1,
                anchors=position[words].flatten(0, 1).double().numpy(),
                embedding=embedding[text].numpy(),
            )
        )
    return texts
