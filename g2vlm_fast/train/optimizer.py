"""The optimizer of a run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from g2vlm_fast.train.config import OptimConfig


def build_optimizer(
    parameters: Mapping[str, nn.Parameter], config: OptimConfig
) -> torch.optim.AdamW:
    """AdamW in which matrices decay, and vectors and scalars do not."""
    matrices = [parameter for parameter in parameters.values() if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters.values() if parameter.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
    )
