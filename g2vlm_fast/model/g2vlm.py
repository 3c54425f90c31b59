"""G2VLM: views and partial geometry in; reconstruction, scene graph and language out."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.encoded import Encoded
from g2vlm_fast.model.fusion import Fused, Fusion
from g2vlm_fast.model.geometry_encoder import GeometryEncoder
from g2vlm_fast.model.heads.answer_start import AnswerStart
from g2vlm_fast.model.heads.grounding import GroundingHead
from g2vlm_fast.model.heads.reconstruction import CompletionHead, DistanceHead
from g2vlm_fast.model.heads.relations import RelationHead
from g2vlm_fast.model.heads.spatial import SpatialHead
from g2vlm_fast.model.heads.text import TextHead
from g2vlm_fast.model.language import LanguageEncoder, LanguageFeatures, load_tokenizer
from g2vlm_fast.model.layers import parameter_count, reset_parameters
from g2vlm_fast.model.memory import MemoryBuilder
from g2vlm_fast.model.packing import interleave, lengths, offsets_of, ordered_pairs, segment_ids
from g2vlm_fast.nn import EdgeConv, GeometryBias
from g2vlm_fast.records import Prediction, SceneBatch, Targets


class G2VLM(PreTrainedModel):
    """A geometry-grounded vision-language model.

    ``encode`` turns scenes into what is known of them without a question; ``forward`` adds what
    targets ask for (distances at points, teacher-forced answers) and grounds texts; ``answer``
    generates. Positions, depths and boxes are float32 under autocast and ``.bfloat16()``.
    """

    config_class = G2VLMConfig
    base_model_prefix = "g2vlm"
    main_input_name = "batch"
    supports_gradient_checkpointing = False

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__(config)
        self.geometry_encoder = GeometryEncoder(config)
        self.completion_head = CompletionHead(config)
        self.distance_head = DistanceHead(config)
        self.spatial_head = SpatialHead(config)
        self.relation_head = RelationHead(config)
        self.memory_builder = MemoryBuilder(config)
        self.language_encoder = LanguageEncoder(config)
        self.fusion = Fusion(config)
        self.grounding_head = GroundingHead(config)
        self.answer_start = AnswerStart(config)
        self.text_head = TextHead(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise what a checkpoint did not hold; pretrained encoders keep what they have."""
        if isinstance(module, GeometryBias):
            module.reset_parameters()
        elif isinstance(module, EdgeConv) and module.geometry_weight is not None:
            bound = len(module.geometry_weight) ** -0.5
            nn.init.uniform_(module.geometry_weight, -bound, bound)
        else:
            reset_parameters(module)

    def encode(self, batch: SceneBatch) -> Encoded:
        """Encode the scenes of a batch, independently of its texts."""
        geometry = self.geometry_encoder(batch)
        objects = self.spatial_head(geometry.seeds, geometry.scales[0], geometry.tokens)
        pairs, pair_offsets = ordered_pairs(objects.offsets)
        points, colors, point_offsets = self.completion_head(geometry.tokens)
        return Encoded(
            geometry=geometry,
            objects=objects,
            relation_pairs=pairs,
            relation_logits=self.relation_head(objects, pairs, geometry.viewpoint),
            relation_offsets=pair_offsets,
            points=points,
            point_colors=colors,
            point_offsets=point_offsets,
            memory=self.memory_builder(geometry.tokens, objects),
        )

    def forward(
        self, batch: SceneBatch, targets: Targets | None = None, encoded: Encoded | None = None
    ) -> Prediction:
        """Predict everything that the batch and the targets ask for.

        Args:
            batch: scenes and, where ``text_ids`` are given, texts about them.
            targets: only says where to predict: ``query_points`` for signed distances, and
                ``answer_ids`` for teacher-forced answers.
            encoded: what :meth:`encode` returned for the same scenes; None to encode them now.
        """
        encoded = self.encode(batch) if encoded is None else encoded
        prediction = encoded.prediction()
        if targets is not None and targets.query_points is not None:
            if targets.query_offsets is None:
                raise ValueError("Targets: query_points need query_offsets")
            distance = self.signed_distance(encoded, targets.query_points, targets.query_offsets)
            truncation = distance.new_tensor(self.config.truncation)
            prediction = dataclasses.replace(
                prediction, query_distance=distance, query_truncation=truncation
            )
        if not _has_texts(batch):
            return prediction
        language, fused = self._fuse(batch, encoded)
        prediction, start = self._ground(prediction, batch, encoded, language, fused)
        if targets is None or targets.answer_ids is None:
            return prediction
        if targets.answer_offsets is None:
            raise ValueError("Targets: answer_ids need answer_offsets")
        logits, value = self.text_head(
            targets.answer_ids, targets.answer_offsets, *_spoken_of(fused), start
        )
        return dataclasses.replace(
            prediction,
            answer_logits=logits,
            answer_offsets=targets.answer_offsets,
            answer_value=value,
        )

    def signed_distance(
        self, encoded: Encoded, points: Tensor, offsets: Tensor, base: Tensor | None = None
    ) -> Tensor:
        """Predict the truncated signed distance ``[Q]`` (float32 metres, positive in free space).

        Args:
            encoded: the scenes.
            points: ``[Q, 3]`` float32 metres, world.
            offsets: ``[B + 1]`` int32, the scenes of the points.
            base: ``[Q]`` float32 metres, a distance to correct, NaN where unknown; None to
                predict without one.
        """
        local = encoded.geometry.frame.points_to_local(points, offsets)
        geometry = encoded.geometry
        levels = (geometry.vertices, *geometry.scales[1:])
        distance: Tensor = self.distance_head(levels, local, offsets, base)
        return distance

    @torch.no_grad()
    def answer(self, batch: SceneBatch, encoded: Encoded | None = None) -> Prediction:
        """Ground every text of the batch and answer it greedily.

        Raises:
            ValueError: the batch has no text.
        """
        if not _has_texts(batch):
            raise ValueError("G2VLM.answer: the batch has no text; set text_ids when collating")
        encoded = self.encode(batch) if encoded is None else encoded
        language, fused = self._fuse(batch, encoded)
        known = encoded.prediction()
        prediction, start = self._ground(known, batch, encoded, language, fused)
        ids, offsets, value = self.text_head.generate(*_spoken_of(fused), start)
        return dataclasses.replace(
            prediction, answer_ids=ids, answer_offsets=offsets, answer_value=value
        )

    def tokenizer(self) -> Any:
        """Return the Hugging Face tokenizer of the text encoder.

        Raises:
            ValueError: the text encoder has no name, and so no tokenizer.
        """
        return load_tokenizer(self.config.text_encoder)

    def _fuse(self, batch: SceneBatch, encoded: Encoded) -> tuple[LanguageFeatures, Fused]:
        assert batch.text_ids is not None
        assert batch.text_offsets is not None
        assert batch.text_scene is not None
        language = self.language_encoder(batch.text_ids, batch.text_offsets)
        memory = encoded.memory
        fused = self.fusion(
            language.token,
            batch.text_offsets,
            batch.text_scene,
            memory.feature,
            memory.position,
            memory.offsets,
        )
        return language, fused

    def _ground(
        self,
        prediction: Prediction,
        batch: SceneBatch,
        encoded: Encoded,
        language: LanguageFeatures,
        fused: Fused,
    ) -> tuple[Prediction, Tensor]:
        """Return a prediction with its grounding, and where answers start ``[U, dim]``."""
        assert batch.text_scene is not None
        thing = encoded.memory.object[fused.index]
        rows = (thing >= 0).nonzero()[:, 0]
        text = segment_ids(fused.geometry_offsets)[rows]
        logits = self.grounding_head(
            fused.geometry[rows], encoded.objects.descriptor[thing[rows]], language.embedding[text]
        )
        held = encoded.memory.feature[fused.index[rows]]
        seen = encoded.memory.embedding[batch.text_scene]
        start = self.answer_start(logits, held, text, seen, language.embedding)
        place = fused.anchors.position
        scene = batch.text_scene[segment_ids(fused.text_offsets)]
        frame = encoded.geometry.frame
        anchors = (frame.axes[scene][:, None] * place[..., None]).sum(-2)
        prediction = dataclasses.replace(
            prediction,
            grounding_logits=logits,
            grounding_offsets=offsets_of(lengths(encoded.objects.offsets)[batch.text_scene]),
            text_embedding=language.embedding,
            anchor_position=anchors + frame.origin[scene][:, None],
            anchor_spread=fused.anchors.spread,
        )
        return prediction, start

    def summary(self) -> str:
        """Return a table of the parts: trained parameters, and layers of each kind."""
        config = self.config
        depths = {
            "geometry_encoder": f"{config.view_layers} view + {config.cross_view_layers} cross-view"
            f" + {config.vertex_layers} vertex + {len(config.voxel_sizes)} x "
            f"{config.scale_layers} scale layers",
            "spatial_head": f"{config.object_layers} layers, {config.num_queries} queries",
            "fusion": f"{config.fusion_layers} blocks",
            "text_head": f"{config.decoder_layers} layers",
            "language_encoder": f"{config.text_encoder}"
            + ("" if config.train_text_encoder else ", frozen"),
        }
        lines = [
            f"{name:18} {parameter_count(part):>13,}  {depths.get(name, '')}".rstrip()
            for name, part in self.named_children()
        ]
        return "\n".join([*lines, f"{'trained':18} {parameter_count(self):>13,}"])


def _has_texts(batch: SceneBatch) -> bool:
    if batch.text_ids is None:
        return False
    if batch.text_offsets is None or batch.text_scene is None:
        raise ValueError("SceneBatch: text_ids need text_offsets and text_scene")
    return len(batch.text_scene) > 0


def _spoken_of(fused: Fused) -> tuple[Tensor, Tensor]:
    """Return what the text head may look at: each text's own tokens, then its geometry."""
    order, offsets = interleave(fused.text_offsets, fused.geometry_offsets)
    return torch.cat([fused.text, fused.geometry])[order], offsets


AutoConfig.register(G2VLMConfig.model_type, G2VLMConfig, exist_ok=True)
AutoModel.register(G2VLMConfig, G2VLM, exist_ok=True)
