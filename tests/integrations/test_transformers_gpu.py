"""Geometry in Hugging Face models on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from g2vlm_fast.integrations.transformers import Geometry, GeometryAdapter, use_geometry
from g2vlm_fast.ops import BiasSpec, Direction, Distance

pytestmark = pytest.mark.gpu

SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 50,
}
TOKENS = 150


def inputs() -> dict[str, Tensor]:
    """Two rows, one of them padded at its start."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(2, TOKENS, dtype=torch.long)
    mask[0, :37] = 0
    ids = torch.randint(1, 50, (2, TOKENS), generator=generator)
    return {"input_ids": ids.cuda(), "attention_mask": mask.cuda()}


def geometry(some: bool) -> Geometry:
    generator = torch.Generator().manual_seed(1)
    position = 3 * torch.randn(2, TOKENS, 3, generator=generator)
    if not some:
        return Geometry(position).to("cuda")
    placed = torch.rand(2, TOKENS, generator=generator) < 0.6
    return Geometry(position.masked_fill(~placed[..., None], torch.nan), placed).to("cuda")


def make(kind: str) -> tuple[nn.Module, GeometryAdapter]:
    torch.manual_seed(0)
    if kind == "causal":
        model: Any = LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2))
    else:
        model = BertModel(BertConfig(**SIZES))
    adapter = GeometryAdapter(model.eval(), BiasSpec(Distance(), Direction()))
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    return model.cuda(), adapter


kinds = pytest.mark.parametrize("kind", ["causal", "bidirectional"])
some = pytest.mark.parametrize("some", [False, True], ids=["all placed", "some placed"])


@kinds
def test_without_geometry_it_is_sdpa_to_the_bit(kind: str) -> None:
    model, _ = make(kind)
    model = model.bfloat16()
    found = model(**inputs())[0]
    model.set_attn_implementation("sdpa")
    assert torch.equal(found, model(**inputs())[0])


@some
@kinds
def test_a_gpu_says_what_the_cpu_says(kind: str, some: bool) -> None:
    model, adapter = make(kind)
    where, given = geometry(some), inputs()
    rows = given["attention_mask"].bool()
    exact = copy.deepcopy(model).cpu().double()
    given_exactly = {name: tensor.cpu() for name, tensor in given.items()}
    found = model(**given, geometry=where)[0][rows]
    expected = exact(**given_exactly, geometry=where.to("cpu"))[0][rows.cpu()]
    torch.testing.assert_close(found.cpu().double(), expected, rtol=5e-3, atol=5e-3)
    half = copy.deepcopy(model).bfloat16()(**given, geometry=where)[0][rows]
    error = (half.cpu().double() - expected).norm() / expected.norm()
    assert error < 0.03
    found.square().mean().backward()
    expected.square().mean().backward()
    for name, parameter in exact.named_parameters():
        if parameter.grad is not None and "geometry_bias" in name:
            gradient = model.get_parameter(name).grad.cpu().double()
            torch.testing.assert_close(gradient, parameter.grad, rtol=2e-2, atol=1e-4)
    assert all(parameter.grad is not None for parameter in adapter.parameters())


@some
def test_attention_never_waits_for_the_gpu(
    some: bool, waiting_raises: Callable[[], AbstractContextManager]
) -> None:
    """Masks are made by transformers, once for all layers, and may wait; attention may not."""
    model, _ = make("causal")
    attention = model.model.layers[0].self_attn
    where = geometry(some)
    hidden = torch.randn(2, TOKENS, 128, device="cuda", requires_grad=True)
    turns = model.model.rotary_emb(hidden, torch.arange(TOKENS, device="cuda")[None])
    masks: list[Tensor] = []
    attention.register_forward_pre_hook(
        lambda _, __, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
    )
    model(**inputs())
    mask = masks[0]

    def step() -> None:
        out, _ = attention(hidden, position_embeddings=turns, attention_mask=mask, geometry=where)
        out.sum().backward()

    step()
    with waiting_raises():
        step()


def test_it_generates() -> None:
    model, _ = make("causal")
    with use_geometry(geometry(some=True)):
        ids = model.generate(**inputs(), max_new_tokens=3, do_sample=False, eos_token_id=None)
    assert ids.shape == (2, TOKENS + 3)
