"""The grounding head: which object of its scene a text refers to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.layers import Linear


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
