"""Keys that are padding: nobody sees them, and nothing of them reaches anything."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops import BiasSpec, Distance, NormalDot, geometry_attention

SPEC = BiasSpec(Distance(), NormalDot())
OF_KEYS = ("k", "v", "k_position", "k_normal")
OnBackend = Callable[[], AbstractContextManager[None]]


def draw(spec: BiasSpec) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "q": (9, 2, 8),
        "k": (12, 2, 8),
        "v": (12, 2, 8),
        "bias_parameters": (2, spec.num_parameters),
        "q_position": (9, 3),
        "k_position": (12, 3),
        "q_normal": (9, 3),
        "k_normal": (12, 3),
    }
    drawn = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    return {**drawn, "bias": spec}


def offsets(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def run(x: dict[str, Any], **options: Any) -> tuple[Any, dict[str, Tensor]]:
    names = [name for name, value in x.items() if isinstance(value, Tensor) and name != "k_mask"]
    leaves = [x[name].detach().clone().requires_grad_() for name in names]
    result = geometry_attention(
        **{**x, **dict(zip(names, leaves, strict=True))},
        return_lse=True,
        return_position_mean=True,
        **options,
    )
    spread = torch.where(result.position_spread == torch.inf, 0, result.position_spread)
    loss = result.out.square().sum() + result.position_mean.square().sum() + spread.sum()
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    return result, {n: g for n, g in zip(names, grads, strict=True) if g is not None}


def test_attention_under_a_mask_is_attention_to_the_keys_that_are_left(
    on_backend: OnBackend,
) -> None:
    x = draw(SPEC)
    mask = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1]).bool()
    with on_backend():
        few, few_grads = run({**x, **{name: x[name][mask] for name in OF_KEYS}})
        masked, masked_grads = run({**x, "k_mask": mask})
    for actual, expected in zip(masked, few, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    for name, grad in masked_grads.items():
        if name in OF_KEYS:
            assert (grad[~mask] == 0).all(), name
            grad = grad[mask]
        torch.testing.assert_close(grad, few_grads[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, 1e9])
def test_whatever_stands_in_padding_changes_no_bit(on_backend: OnBackend, garbage: float) -> None:
    x = draw(SPEC)
    mask = torch.arange(12) % 3 > 0  # the first key is padding as well
    options = {"q_offsets": offsets(0, 4, 9), "k_offsets": offsets(0, 3, 12)}
    for name in OF_KEYS:
        x[name][~mask] = 0
    with on_backend():
        clean = run({**x, "k_mask": mask}, **options)
        for name in OF_KEYS:
            x[name][~mask] = garbage
        dirty = run({**x, "k_mask": mask}, **options)
    for actual, expected in zip(dirty[0], clean[0], strict=True):
        assert torch.equal(actual, expected)
    for name, grad in dirty[1].items():
        assert grad.isfinite().all(), name
        assert torch.equal(grad, clean[1][name]), name


def test_rows_that_see_nothing_but_padding_answer_nothing(on_backend: OnBackend) -> None:
    x = draw(SPEC)
    mask = torch.arange(12) >= 5
    options = {"q_offsets": offsets(0, 4, 9), "k_offsets": offsets(0, 5, 12)}
    with on_backend():
        result, grads = run({**x, "k_mask": mask}, **options)
    assert (result.out[:4] == 0).all()
    assert (result.lse[:4] == -torch.inf).all()
    assert (result.position_mean[:4] == 0).all()
    assert (result.position_spread[:4] == torch.inf).all()
    for name in ("q", "q_position", "q_normal"):
        assert (grads[name][:4] == 0).all(), name
        assert (grads[name][4:] != 0).any(), name


def test_padding_keeps_its_place_under_a_causal_mask(on_backend: OnBackend) -> None:
    x = draw(SPEC)
    mask = torch.ones(12, dtype=torch.bool)
    mask[5] = False
    with on_backend():
        causal = geometry_attention(**x, k_mask=mask, causal=True)
        for query in range(9):
            seen = torch.arange(12) <= query + 3
            alone = {**x, **{name: x[name][seen & mask] for name in OF_KEYS}}
            alone |= {n: x[n][query : query + 1] for n in x if n.startswith("q")}
            torch.testing.assert_close(causal[query], geometry_attention(**alone)[0])


def test_the_mean_far_from_the_origin_is_exact_where_padding_comes_first(
    on_backend: OnBackend,
) -> None:
    x = draw(BiasSpec(Distance()))
    shift = torch.tensor([100.0, -100.0, 50.0])
    mask = torch.arange(12) >= 2
    with on_backend():
        near = geometry_attention(**x, k_mask=mask, return_position_mean=True)
        for name in ("q_position", "k_position"):
            x[name] = x[name] + shift
        x["k_position"][:2] = torch.nan
        far = geometry_attention(**x, k_mask=mask, return_position_mean=True)
    torch.testing.assert_close(far.position_mean - shift, near.position_mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(far.position_spread, near.position_spread, rtol=0, atol=1e-4)
