"""The loss of the text head: words by cross entropy, numbers by regression."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.losses.terms import mean_or_zero
from g2vlm_fast.model.packing import lengths, segment_ids
from g2vlm_fast.records import Prediction, Targets


def text_loss(prediction: Prediction, targets: Targets) -> dict[str, Tensor]:
    r"""Cross entropy of teacher-forced answers, and the error of regressed numbers.

    ``word`` is the mean over all words, where an answer of n words weighs :math:`\sqrt n`: by
    words, captions would drown the answers of one word, and by answers it is the other way round;
    ``number`` is the Huber loss (below 0.25) of
    :math:`\log(1 + \hat v) - \log(1 + v)` over the answers that are a number.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017; Golkar et al., "xVal: a
    continuous number encoding for large language models", 2023.
    """
    assert prediction.answer_logits is not None
    assert targets.answer_ids is not None
    assert prediction.answer_offsets is not None
    size = lengths(prediction.answer_offsets).clamp_min(1)
    weight = size.float().rsqrt()[segment_ids(prediction.answer_offsets)]
    entropy = F.cross_entropy(prediction.answer_logits, targets.answer_ids, reduction="none")
    terms = {"word": (weight * entropy).sum() / weight.sum().clamp_min(1e-6)}
    if prediction.answer_value is not None and targets.answer_value is not None:
        both = prediction.answer_value.isfinite() & targets.answer_value.isfinite()
        predicted = torch.log1p(prediction.answer_value[both].clamp_min(0))
        truth = torch.log1p(targets.answer_value[both])
        error = F.huber_loss(predicted, truth, reduction="none", delta=0.25)
        terms["number"] = 4 * mean_or_zero(error)
    return terms
