"""The text head: a causal decoder of captions and answers, with numbers regressed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.model.config import END, NUMBER, START, G2VLMConfig
from g2vlm_fast.model.layers import MLP, LayerNorm, Linear, fourier_features
from g2vlm_fast.model.packing import lengths, offsets_of, segment_ids
from g2vlm_fast.nn import GeometryCrossAttention, GeometrySelfAttention

_ORDER_BANDS = 8


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the fused tokens, feed-forward; all packed."""

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        dim, heads = config.dim, config.heads
        self.self_norm = LayerNorm(dim)
        self.self_attention = GeometrySelfAttention(dim, heads, causal=True)
        self.cross_norm = LayerNorm(dim)
        self.cross_attention = GeometryCrossAttention(dim, heads)
        self.mlp_norm = LayerNorm(dim)
        self.mlp = MLP(dim, int(config.mlp_ratio * dim), dim)

    def forward(self, x: Tensor, offsets: Tensor, memory: Tensor, memory_offsets: Tensor) -> Tensor:
        x = x + self.self_attention(self.self_norm(x), offsets=offsets)
        x = x + self.cross_attention(
            self.cross_norm(x), memory, offsets=offsets, context_offsets=memory_offsets
        )
        return x + self.mlp(self.mlp_norm(x))


class TextHead(nn.Module):
    """Speaks in the closed words of the answer vocabulary.

    Where the word is ``<number>``, its value is regressed: ``expm1`` of a softplus, so that the
    error that counts is relative for large values and absolute for small ones.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        dim = config.dim
        words = len(config.answer_vocabulary or [])
        self.maximum_length = config.maximum_answer_length
        self.embed = nn.Embedding(words, dim)
        self.order = Linear(2 * _ORDER_BANDS, dim)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = LayerNorm(dim)
        self.words = Linear(dim, words)
        self.value = MLP(dim, dim, 1)

    def forward(
        self,
        answer_ids: Tensor,
        offsets: Tensor,
        memory: Tensor,
        memory_offsets: Tensor,
        start: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Score the words of given answers, each from those before it.

        Args:
            answer_ids: ``[A]`` int64, without ``<start>``, each answer ending in ``<end>``.
            offsets: ``[U + 1]`` int32.
            memory: ``[n, dim]`` what each text may look at, ``memory_offsets [U + 1]``.
            start: ``[U, dim]`` what each answer starts from.

        Returns:
            Logits ``[A, words]`` float32, and the value ``[U]`` float32 that each answer's first
            ``<number>`` has, NaN where the answer has none.
        """
        hidden = self._run(_shift(answer_ids, offsets), offsets, memory, memory_offsets, start)
        return self.words(hidden).float(), self._values(hidden, answer_ids, offsets)

    @torch.no_grad()
    def generate(
        self, memory: Tensor, memory_offsets: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer greedily: ids ``[A]`` that end in ``<end>`` or at the longest length.

        Returns:
            The ids, their offsets ``[U + 1]`` int32, and the values ``[U]`` as in ``forward``.
        """
        texts = len(memory_offsets) - 1
        spoken = torch.empty(texts, 0, dtype=torch.long, device=memory.device)
        running = torch.ones(texts, dtype=torch.bool, device=memory.device)
        starts = torch.full((texts, 1), START, dtype=torch.long, device=memory.device)
        hidden = memory.new_zeros(0, memory.shape[-1])
        for length in range(1, self.maximum_length + 1):
            offsets = torch.arange(texts + 1, device=memory.device, dtype=torch.int32) * length
            previous = torch.cat([starts, spoken], dim=1).flatten()
            hidden = self._run(previous, offsets, memory, memory_offsets, start)
            logits = self.words(hidden.unflatten(0, (texts, length))[:, -1]).float()
            logits[:, [0, START]] = -torch.inf
            word = torch.where(running, logits.argmax(-1), END)
            spoken = torch.cat([spoken, word[:, None]], dim=1)
            running = running & (word != END)
            if not bool(running.any()):
                break
        ended = (spoken == END).int()
        keep = ended.cumsum(1) - ended == 0
        offsets = offsets_of(keep.sum(1))
        kept = hidden.unflatten(0, keep.shape)[keep] if texts else hidden
        return spoken[keep], offsets, self._values(kept, spoken[keep], offsets)

    def _run(
        self,
        previous: Tensor,
        offsets: Tensor,
        memory: Tensor,
        memory_offsets: Tensor,
        start: Tensor,
    ) -> Tensor:
        text = segment_ids(offsets)
        place = torch.arange(len(previous), device=previous.device) - offsets.long()[text]
        order = fourier_features(place[:, None].float(), 4.0, 256.0, _ORDER_BANDS)
        x = self.embed(previous) + self.order(order) + start[text]
        for layer in self.layers:
            x = layer(x, offsets, memory.to(x.dtype), memory_offsets)
        return self.norm(x)

    def _values(self, hidden: Tensor, ids: Tensor, offsets: Tensor) -> Tensor:
        text = segment_ids(offsets)
        rows = (ids == NUMBER).nonzero()[:, 0]
        count = len(offsets) - 1
        first = torch.full((count,), len(ids), dtype=torch.long, device=ids.device)
        first = first.scatter_reduce(0, text[rows], rows, "amin")
        has = first < len(ids)
        values = torch.expm1(F.softplus(self.value(hidden[first[has]])[:, 0].float()))
        result = torch.full((count,), torch.nan, device=ids.device)
        return result.masked_scatter(has, values)


def _shift(ids: Tensor, offsets: Tensor) -> Tensor:
    """Return the word before each word, ``<start>`` before the first of each answer."""
    previous = torch.cat([ids.new_full((1,), START), ids[:-1]])
    previous = previous[: len(ids)]
    firsts = offsets[:-1].long()[lengths(offsets) > 0]
    return previous.index_fill(0, firsts, START)
