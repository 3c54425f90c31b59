"""The grounding head: which object of its scene a text refers to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.layers import MLP, Linear


class GroundingHead(nn.Module):
    """Scores each object for each text: as the fusion sees them together, and by descriptor.

    Source: Chen et al., "ScanRefer", ECCV 2020; Zhu et al., "3D-VisTA", ICCV 2023.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        self.hidden = Linear(config.dim, config.dim)
        self.score = Linear(config.dim, 1, bias=False)
        self.similarity = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.similarity, 5.0)

    def forward(self, fused: Tensor, descriptor: Tensor, text_embedding: Tensor) -> Tensor:
        """Return logits ``[G]`` float32.

        Args:
            fused: ``[G, dim]``, each object of a text's scene after fusion with the text.
            descriptor: ``[G, E]`` unit norm, of the same objects.
            text_embedding: ``[G, E]`` unit norm, of the same texts.
        """
        alike = (descriptor * text_embedding).sum(-1)
        return (
            self.score(F.gelu(self.hidden(fused)))[:, 0].float() + self.similarity.float() * alike
        )


class ChosenObject(nn.Module):
    """What the grounding chose for each text, as one feature: where an answer starts from.

    The mean of the objects, weighted by the softmax of their scores, and how clear the choice is:
    the best score, and the logarithm of the sum of exponentials of all.

    Source: the soft choice of Bahdanau et al., ICLR 2015, with weights that grounding supervises.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        self.object = Linear(config.dim, config.dim)
        self.clarity = MLP(2, config.dim, config.dim)

    def forward(self, logits: Tensor, feature: Tensor, text: Tensor, count: int) -> Tensor:
        """Return ``[count, dim]``; a text without objects has the feature of no choice.

        Args:
            logits: ``[G]`` float32, of each object for its text.
            feature: ``[G, dim]`` of the same objects.
            text: ``[G]`` int64, the text of each.
            count: number of texts.
        """
        best = logits.new_zeros(count).scatter_reduce(0, text, logits, "amax", include_self=False)
        share = (logits - best.detach()[text]).exp()
        total = logits.new_zeros(count).index_add(0, text, share)
        weight = (share / total[text])[:, None]
        mean = weight.new_zeros(count, feature.shape[1]).index_add(
            0, text, weight * feature.float()
        )
        clarity = torch.stack([best, total.clamp_min(1e-6).log()], dim=-1)
        return self.object(mean.to(feature.dtype)) + self.clarity(clarity.to(feature.dtype))
