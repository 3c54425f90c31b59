"""Padded point clouds, and gradients that weigh every output differently."""

from __future__ import annotations

import torch


def batch(lengths, size, generator, dim=3):  # type: ignore[no-untyped-def]
    points = torch.rand(len(lengths), size, dim, generator=generator, dtype=torch.float64)
    return points.requires_grad_(), torch.tensor(lengths)


def close(ours, truth) -> None:  # type: ignore[no-untyped-def]
    torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-12)


def gradients(value, leaves):  # type: ignore[no-untyped-def]
    values = value if isinstance(value, tuple) else (value,)
    total = sum(
        (each * torch.linspace(1, 2, each.numel()).view(each.shape)).sum() for each in values
    )
    return torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
