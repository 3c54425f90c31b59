"""Where an answer starts from: what the grounding chose, and the scene as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.layers import MLP, ZeroLinear


class AnswerStart(nn.Module):
    """A short way from the scene to the words, which attention alone takes long to find.

    Three things, each through a small network of its own that starts at zero: the mean of the
    objects of a text's scene, weighted by the softmax of their grounding scores; how clear that
    choice is (the best score, and the logarithm of the sum of exponentials relative to it); and
    the embedding of the scene, with its product with that of the text, which says what they share.

    Source: the soft choice of Bahdanau et al., ICLR 2015, with weights that grounding supervises.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        dim, width = config.dim, config.embedding_dim
        self.scale = width**0.5  # entries of unit vectors, brought to about one
        self.object = MLP(dim, dim, dim, last=ZeroLinear)
        self.clarity = MLP(2, dim, dim, last=ZeroLinear)
        self.scene = MLP(2 * width, dim, dim, last=ZeroLinear)

    def forward(
        self, logits: Tensor, feature: Tensor, text: Tensor, scene: Tensor, said: Tensor
    ) -> Tensor:
        """Return ``[U, dim]``; a text without objects starts from its scene alone.

        Args:
            logits: ``[G]`` float32, the grounding score of each object for its text.
            feature: ``[G, dim]`` of the same objects.
            text: ``[G]`` int64, the text of each.
            scene: ``[U, E]`` unit norm, the embedding of each text's scene.
            said: ``[U, E]`` unit norm, the embedding of each text.
        """
        count = len(scene)
        best = logits.new_zeros(count).scatter_reduce(0, text, logits, "amax", include_self=False)
        share = (logits - best.detach()[text]).exp()
        total = logits.new_zeros(count).index_add(0, text, share)
        weight = (share / total[text])[:, None]
        mean = weight.new_zeros(count, feature.shape[1])
        mean = mean.index_add(0, text, weight * feature.float()).to(feature.dtype)
        clarity = torch.stack([best, total.clamp_min(1e-6).log()], dim=-1).to(feature.dtype)
        alike = torch.cat([scene, self.scale * scene * said], dim=-1) * self.scale
        start: Tensor = self.object(mean) + self.clarity(clarity)
        return start + self.scene(alike.to(feature.dtype))
