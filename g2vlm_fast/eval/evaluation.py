"""Evaluate a model on scenes with truth: every head, with interval and chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data import AnswerVocabulary, Query, Scene, collate
from g2vlm_fast.eval import facts
from g2vlm_fast.eval.baselines import fused_distance, lifted_points
from g2vlm_fast.eval.heads import dense, language, reconstruction, retrieval, spatial
from g2vlm_fast.eval.metric import Metric, Sums, measure_all
from g2vlm_fast.eval.output import SceneOutput, rows_of, scene_outputs
from g2vlm_fast.eval.priors import Array, Priors
from g2vlm_fast.model import G2VLM
from g2vlm_fast.model.encoded import Encoded
from g2vlm_fast.records import SceneBatch, Targets

DEFINITIONS = (
    *dense.DEFINITIONS,
    *reconstruction.DEFINITIONS,
    *spatial.DEFINITIONS,
    *language.DEFINITIONS,
    *retrieval.DEFINITIONS,
)
_SURFACE_POINTS = 4096  # a room
_QUERY_POINTS = 1024  # a room


def evaluate(
    model: G2VLM,
    scenes: Sequence[Scene],
    queries: Sequence[Sequence[Query]],
    *,
    priors: Priors,
    image_size: tuple[int, int] | None = None,
    scenes_per_batch: int = 5,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> list[Metric]:
    """Judge every head of a model against the truth of scenes.

    Args:
        model: is put into evaluation mode for the time.
        scenes: with truth, of the classes and relations that the model knows.
        queries: the texts of each scene, one statement of the room among them.
        priors: what is guessed without looking, fitted to other scenes.
        image_size: (height, width) that images are resized to; None for that of the first scene.
        scenes_per_batch: how many scenes run together; changes no result but rounding.
        seed: of surface samples and resampling.
        on_progress: is told the share of the scenes that are done.

    Returns:
        A metric for each definition, in the order of :data:`DEFINITIONS`.

    Raises:
        ValueError: no scenes, a scene without truth, numbers of scenes and texts that differ, or an
            object of a class that the model does not know.
    """
    if not scenes or len(scenes) != len(queries):
        raise ValueError(
            "evaluate: expected as many lists of queries as scenes, and at least one, got "
            f"{len(queries)} and {len(scenes)}"
        )
    for scene in scenes:
        facts.truth_of(scene)
    judge = _Judge(model, priors, image_size or scenes[0].image_size, seed)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(scenes), scenes_per_batch):
                stop = min(start + scenes_per_batch, len(scenes))
                judge.add(scenes[start:stop], queries[start:stop])
                if on_progress is not None:
                    on_progress(stop / len(scenes))
    finally:
        model.train(was_training)
    return measure_all(DEFINITIONS, judge.all_sums(), seed=seed)


class _Judge:
    """Runs a model on batches of scenes and keeps the sums of each scene."""

    def __init__(
        self, model: G2VLM, priors: Priors, image_size: tuple[int, int], seed: int
    ) -> None:
        self.model = model
        self.priors = priors
        self.image_size = image_size
        self.seed = seed
        self.tokenize = model.tokenizer()
        self.vocabulary = AnswerVocabulary(model.config.answer_vocabulary)
        self.ontology = model.config.ontology
        self.sums: list[dict[str, Sums]] = []
        self.gallery: list[tuple[int, Array, Array, str]] = []

    def add(self, scenes: Sequence[Scene], queries: Sequence[Sequence[Query]]) -> None:
        """Judge one batch: phrases and statements are grounded, other texts are answered."""
        first = len(self.sums)
        found = [
            [text for text in texts if facts.is_phrase(text) or facts.is_statement(text)]
            for texts in queries
        ]
        batch, targets = self._collate(scenes, found, _SURFACE_POINTS, _QUERY_POINTS)
        encoded = self.model.encode(batch)
        wanted = dataclasses.replace(targets, answer_ids=None, answer_offsets=None)
        prediction = self.model(batch, wanted, encoded)
        assert targets.query_offsets is not None
        outputs = scene_outputs(prediction, batch, encoded.tokens, targets.query_offsets)
        batch, targets = batch.to("cpu"), targets.to("cpu")
        for index, (scene, output) in enumerate(zip(scenes, outputs, strict=True)):
            sums = self._judge_geometry(scene, output, batch, targets, index)
            sums |= self._judge_graph(scene, output, found[index])
            self.sums.append(sums)
            for said, text in zip(output.texts, found[index], strict=True):
                if facts.is_statement(text):
                    entry = (first + index, output.embedding, said.embedding, text.text)
                    self.gallery.append(entry)
        for wanted_text, judge in (
            (facts.is_question, self._judge_questions),
            (facts.is_caption, self._judge_captions),
        ):
            asked = [[text for text in texts if wanted_text(text)] for texts in queries]
            for index, answers in enumerate(self._answers(scenes, asked, encoded)):
                self.sums[first + index] |= judge(asked[index], *answers)

    def all_sums(self) -> list[dict[str, Sums]]:
        """Return the sums of every scene; retrieval ranks all scenes judged so far."""
        if self.gallery:
            rows, scenes, texts, words = zip(*self.gallery, strict=True)
            ranked = retrieval.judge_retrieval(np.stack(scenes), np.stack(texts), words)
            for row, sums in zip(rows, ranked, strict=True):
                self.sums[row] |= sums
        return self.sums

    def _collate(
        self,
        scenes: Sequence[Scene],
        queries: Sequence[Sequence[Query]],
        surface_points: int = 0,
        query_points: int = 0,
    ) -> tuple[SceneBatch, Targets]:
        batch, targets = collate(
            scenes,
            queries,
            image_size=self.image_size,
            tokenize=self.tokenize,
            answer_vocabulary=self.vocabulary,
            ontology=self.ontology,
            num_surface_points=surface_points,
            num_query_points=query_points,
            seed=self.seed,
        )
        return batch.to(self.model.device), targets.to(self.model.device)

    def _judge_geometry(
        self, scene: Scene, output: SceneOutput, batch: SceneBatch, targets: Targets, index: int
    ) -> dict[str, Sums]:
        assert targets.depth is not None
        assert targets.normal is not None
        assert targets.surface_points is not None
        assert targets.query_distance is not None
        assert targets.query_observed is not None
        views = rows_of(batch.view_offsets, index)
        asked = rows_of(targets.query_offsets, index)
        camera = (batch.intrinsics[views], batch.poses[views])
        given = torch.zeros_like(targets.depth) if batch.depth is None else batch.depth
        truncation = float(self.model.config.truncation)
        assert targets.query_points is not None
        surface: Tensor = targets.surface_points[rows_of(targets.surface_offsets, index)]
        return {
            **dense.judge_dense(
                output.depth,
                output.normal,
                given[views],
                targets.depth[views],
                targets.normal[views],
                self.priors,
            ),
            **reconstruction.judge_completion(
                output.points,
                output.tokens,
                output.extents,
                surface,
                facts.hidden_surface(scene, surface),
                lifted_points(given[views], *camera),
            ),
            **reconstruction.judge_signed_distance(
                output.distance,
                targets.query_distance[asked],
                targets.query_observed[asked],
                truncation,
                self.priors,
                fused_distance(
                    targets.query_points[asked], given[views], *camera, truncation=truncation
                ),
            ),
        }

    def _judge_graph(
        self, scene: Scene, output: SceneOutput, texts: Sequence[Query]
    ) -> dict[str, Sums]:
        truth = facts.truth_of(scene)
        objects = facts.true_objects(truth, self.ontology)
        phrases = [
            (said, text.referred)
            for said, text in zip(output.texts, texts, strict=True)
            if text.referred is not None
        ]
        referred = [wanted for _, wanted in phrases]
        return {
            **spatial.judge_objects(output.objects, objects, self.priors),
            **spatial.judge_relations(
                output.objects,
                output.graph,
                objects,
                facts.true_graph(truth, self.ontology),
                self.priors,
            ),
            **spatial.judge_grounding(
                [said.choice for said, _ in phrases],
                referred,
                output.candidates,
                output.objectness,
                objects,
            ),
            **spatial.judge_anchors(
                [said.anchors for said, _ in phrases],
                referred,
                output.tokens.double().numpy(),
                objects,
            ),
        }

    def _answers(
        self, scenes: Sequence[Scene], asked: Sequence[Sequence[Query]], encoded: Encoded
    ) -> list[tuple[list[str], list[float]]]:
        """Return what the model answers to the texts of each scene, in words and numbers."""
        if not any(asked):
            return [([], []) for _ in scenes]
        batch, _ = self._collate(scenes, asked)
        answer = self.model.answer(batch, encoded).to("cpu")
        assert answer.answer_ids is not None
        assert answer.answer_value is not None
        number, answers = 0, []
        for texts in asked:
            said = [
                self.vocabulary.decode(
                    answer.answer_ids[rows_of(answer.answer_offsets, n)].tolist()
                )
                for n in range(number, number + len(texts))
            ]
            answers.append((said, answer.answer_value[number : number + len(texts)].tolist()))
            number += len(texts)
        return answers

    def _judge_questions(
        self, asked: Sequence[Query], said: Sequence[str], values: Sequence[float]
    ) -> dict[str, Sums]:
        truth = [facts.true_answer(text) for text in asked]
        return language.judge_answers(said, values, truth, self.priors)

    def _judge_captions(
        self, asked: Sequence[Query], said: Sequence[str], values: Sequence[float]
    ) -> dict[str, Sums]:
        return language.judge_captions(said, [text.answer or "" for text in asked], self.priors)
