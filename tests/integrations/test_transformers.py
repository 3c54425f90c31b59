"""The attention implementation "geometry" against sdpa, and against attention by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)
from transformers.masking_utils import eager_mask

from g2vlm_fast.integrations.transformers import Geometry, GeometryAdapter, use_geometry
from g2vlm_fast.ops import BiasSpec, Direction, Distance, NormalDot

SPEC = BiasSpec(Distance(), Direction())
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
TOKENS = 10


def llama(**changes: Any) -> LlamaForCausalLM:
    sizes = SIZES | {"num_key_value_heads": 2, "vocab_size": 50, "pad_token_id": 0} | changes
    return LlamaForCausalLM(LlamaConfig(**sizes)).eval()


def bert(**changes: Any) -> BertModel:
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertModel(BertConfig(**SIZES | dropout | {"vocab_size": 50} | changes)).eval()


def vit() -> ViTModel:
    return ViTModel(ViTConfig(**SIZES, image_size=12, patch_size=4)).eval()


def text() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"input_ids": torch.randint(1, 50, (2, TOKENS), generator=generator)}


def padded_text(*padding: int) -> dict[str, Tensor]:
    """Rows without some tokens at their start, or at their end where negative."""
    mask = torch.ones(2, TOKENS, dtype=torch.long)
    for row, count in zip(mask, padding, strict=True):
        row[:count] = 0 if count > 0 else 1
        row[TOKENS + min(count, 0) :] = 0
    return text() | {"attention_mask": mask}


def image() -> dict[str, Tensor]:
    """One token for the class and nine for the patches."""
    return {"pixel_values": torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))}


CASES: list[Any] = [
    pytest.param(llama, text, id="causal"),
    pytest.param(llama, lambda: padded_text(3, 0), id="causal, padded at the start"),
    pytest.param(llama, lambda: padded_text(-4, 0), id="causal, padded at the end"),
    pytest.param(bert, text, id="text"),
    pytest.param(bert, lambda: padded_text(0, -3), id="text, padded"),
    pytest.param(vit, image, id="image"),
]
cases = pytest.mark.parametrize(("make", "inputs"), CASES)


def geometry(rows: int = 2, tokens: int = TOKENS, some: bool = False) -> Geometry:
    generator = torch.Generator().manual_seed(2)
    position = torch.randn(rows, tokens, 3, generator=generator)
    if not some:
        return Geometry(position)
    placed = torch.rand(rows, tokens, generator=generator) < 0.6
    return Geometry(position.masked_fill(~placed[..., None], torch.nan), placed)


def biased(model: PreTrainedModel, spec: BiasSpec = SPEC) -> GeometryAdapter:
    """Give a model biases that are large enough to matter."""
    adapter = GeometryAdapter(model, spec)
    generator = torch.Generator().manual_seed(3)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, generator=generator)
    return adapter


def attention_by_hand(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    geometry: Geometry | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend with the bias of Distance and Direction built whole."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    position = geometry.position.nan_to_num()
    difference = position[:, None] - position[:, :, None]  # [B, q, k, 3]
    distance = (difference.square().sum(-1) + 1e-6).sqrt()
    slope, weight = module.geometry_bias.parameters_per_head.split([1, 3], dim=1)
    bias = -slope[..., None] * distance[:, None] + torch.einsum("hc,bqkc->bhqk", weight, difference)
    if geometry.placed is not None:
        pairs = geometry.placed[:, None, :, None] & geometry.placed[:, None, None, :]
        bias = bias.where(pairs, 0)
    score = scaling * query @ key.mT + bias
    if attention_mask is not None:
        score = score + attention_mask
    return (score.softmax(-1) @ value).transpose(1, 2), None


AttentionInterface.register("by hand", attention_by_hand)
AttentionMaskInterface.register("by hand", eager_mask)


def visible_rows(out: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    mask = inputs.get("attention_mask")
    return out if mask is None else out[mask.bool()]


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: x.grad for name, x in model.named_parameters() if x.grad is not None}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@cases
def test_without_geometry_it_is_sdpa_to_the_bit(
    make: Callable[..., PreTrainedModel], inputs: Callable[[], dict[str, Tensor]]
) -> None:
    plain = make()
    model = copy.deepcopy(plain)
    biased(model)
    found, expected = model(**inputs())[0], plain(**inputs())[0]
    assert torch.equal(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    assert all(torch.equal(gradients(model)[name], x) for name, x in gradients(plain).items())
    assert not any("geometry" in name for name in gradients(model))


@pytest.mark.parametrize("some", [False, True], ids=["all stand somewhere", "some stand nowhere"])
@cases
def test_it_is_attention_with_a_built_bias(
    make: Callable[..., PreTrainedModel], inputs: Callable[[], dict[str, Tensor]], some: bool
) -> None:
    model = make()
    biased(model)
    by_hand = copy.deepcopy(model)
    by_hand.set_attn_implementation("by hand")
    for hooks in (by_hand._forward_pre_hooks, by_hand._forward_hooks):
        hooks.clear()
    where = geometry(some=some)
    without = visible_rows(model(**inputs())[0], inputs())
    found = visible_rows(model(**inputs(), geometry=where)[0], inputs())
    expected = visible_rows(by_hand(**inputs(), geometry=where)[0], inputs())
    assert (found - without).abs().max() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    found.square().sum().backward()
    expected.square().sum().backward()
    assert any("geometry_bias" in name for name in gradients(model))
    for name, expectation in gradients(by_hand).items():
        torch.testing.assert_close(gradients(model)[name], expectation, rtol=1e-3, atol=1e-4)


@cases
def test_biases_at_zero_change_nothing(
    make: Callable[..., PreTrainedModel], inputs: Callable[[], dict[str, Tensor]]
) -> None:
    model = make()
    before = visible_rows(model(**inputs())[0], inputs())
    GeometryAdapter(model, SPEC)
    after = visible_rows(model(**inputs(), geometry=geometry())[0], inputs())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_a_token_sees_nothing_of_the_future() -> None:
    model = llama()
    biased(model)
    ids, where = text()["input_ids"], geometry()
    later, moved = ids.clone(), where.position.clone()
    later[:, 6:] = 7
    moved[:, 6:] += 1
    for mask in (None, padded_text(2, 0)["attention_mask"]):
        before = model(ids, attention_mask=mask, geometry=where)[0]
        after = model(later, attention_mask=mask, geometry=Geometry(moved))[0]
        assert torch.equal(before[:, :6], after[:, :6])
        assert not torch.equal(before[:, 6:], after[:, 6:])


def test_what_stands_in_padding_does_not_matter() -> None:
    model = bert()
    adapter = biased(model)
    inputs = padded_text(0, -3)
    visible, results = inputs["attention_mask"].bool(), []
    for hidden in (0.0, torch.nan):
        position = geometry().position.masked_fill(~visible[..., None], hidden)
        out = model(**inputs, geometry=Geometry(position))[0][visible]
        adapter.zero_grad()
        out.square().sum().backward()
        results.append([out, *(x.grad.clone() for x in adapter.parameters())])
    for zero, nan in zip(*results, strict=True):
        assert torch.equal(zero, nan)


def test_geometry_in_a_context_is_geometry_as_an_argument() -> None:
    model = bert()
    biased(model)
    expected = model(**text(), geometry=geometry())[0]
    with use_geometry(geometry()):
        assert torch.equal(model(**text())[0], expected)
    assert not torch.equal(model(**text())[0], expected)


def test_positions_receive_gradients() -> None:
    model = bert()
    biased(model)
    position = geometry().position.requires_grad_()
    model(**text(), geometry=Geometry(position))[0].square().sum().backward()
    assert (position.grad.abs().amax(-1) > 0).all()


def test_normals_and_frames_turn_with_the_world() -> None:
    model = bert()
    biased(model, BiasSpec(NormalDot(), Direction()))
    turn, _ = torch.linalg.qr(torch.randn(3, 3))
    frame, _ = torch.linalg.qr(torch.randn(2, TOKENS, 3, 3))
    normal = nn.functional.normalize(torch.randn(2, TOKENS, 3), dim=-1)
    position = geometry().position
    found = model(**text(), geometry=Geometry(position, None, normal, frame))[0]
    turned = Geometry(position @ turn, None, normal @ turn, frame @ turn)
    torch.testing.assert_close(model(**text(), geometry=turned)[0], found, rtol=1e-4, atol=1e-5)
    ahead = Geometry(position @ turn, None, normal @ turn)
    assert (model(**text(), geometry=ahead)[0] - found).abs().max() > 1e-2


def test_dropout_does_not_ask_who_stands_somewhere() -> None:
    """Without biases all pairs are alike, in whichever of the two parts they are."""
    model = bert(attention_probs_dropout_prob=0.3).train()
    GeometryAdapter(model, SPEC)

    def draw(seed: int, given: Geometry) -> Tensor:
        torch.manual_seed(seed)
        return model(**text(), geometry=given)[0]

    all_placed, some_placed = geometry(), geometry(some=True)
    found = draw(0, some_placed)
    torch.testing.assert_close(draw(0, all_placed), found, rtol=1e-4, atol=1e-5)
    assert (draw(1, some_placed) - found).abs().max() > 1e-2
    model.eval()
    assert torch.equal(draw(0, some_placed), draw(1, some_placed))


def test_a_half_precision_model_keeps_positions_and_biases_in_float32() -> None:
    model = bert()
    adapter = biased(model)
    far = Geometry(geometry().position + 300)  # bfloat16 would round by a metre
    exact = model(**text(), geometry=far)[0]
    assert all(x.dtype == torch.float32 for x in adapter.bfloat16().parameters())
    half = model.bfloat16()(**text(), geometry=far)[0]
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.15)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.float()(**text(), geometry=far)[0]
    torch.testing.assert_close(mixed.float(), exact, rtol=0.1, atol=0.15)


@pytest.mark.parametrize("inputs", [text, lambda: padded_text(3, 0)], ids=["full", "padded"])
def test_generation_looks_from_the_prompt_with_its_geometry(
    inputs: Callable[[], dict[str, Tensor]],
) -> None:
    """Each generated token is the likeliest after all before it, which stand nowhere."""
    model = llama()
    biased(model)
    where = geometry()
    with use_geometry(where):
        ids = model.generate(**inputs(), max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert ids.shape == (2, TOKENS + 4)
    nowhere = torch.zeros(2, 4, dtype=torch.bool)
    whole = Geometry(
        torch.cat([where.position, torch.full((2, 4, 3), torch.nan)], dim=1),
        torch.cat([torch.ones(2, TOKENS, dtype=torch.bool), nowhere], dim=1),
    )
    mask = inputs().get("attention_mask")
    if mask is not None:
        mask = torch.cat([mask, torch.ones(2, 4, dtype=mask.dtype)], dim=1)
    logits = model(ids, attention_mask=mask, geometry=whole).logits
    assert torch.equal(logits[:, TOKENS - 1 : -1].argmax(-1), ids[:, TOKENS:])


def test_a_prompt_in_two_parts_is_a_prompt_in_one() -> None:
    model = llama()
    biased(model)
    ids, where = text()["input_ids"], geometry()
    expected = model(ids, geometry=where).logits
    first = model(ids[:, :4], geometry=Geometry(where.position[:, :4]), use_cache=True)
    second = model(ids[:, 4:], geometry=where, past_key_values=first.past_key_values)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), expected)


def test_beams_take_repeated_geometry() -> None:
    model = llama()
    biased(model)
    options: dict[str, Any] = {"max_new_tokens": 3, "num_beams": 2, "do_sample": False}
    with use_geometry(geometry()), pytest.raises(ValueError, match="repeat_interleave"):
        model.generate(**text(), **options)
    with use_geometry(geometry().repeat_interleave(2)):
        assert len(model.generate(**text(), **options)) == 2


@pytest.mark.parametrize(
    "inputs",
    [text, lambda: padded_text(3, 0), lambda: padded_text(0, 0) | {"use_cache": False}],
    ids=["full", "padded", "without a cache"],
)
def test_compiles_as_one_graph(inputs: Callable[[], dict[str, Any]]) -> None:
    torch._dynamo.reset()
    model = llama(num_hidden_layers=1)
    (parameter,) = biased(model).parameters()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected = model(**inputs(), geometry=geometry()).logits
    found = compiled(**inputs(), geometry=geometry()).logits
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.square().sum(), parameter)
    (expectation,) = torch.autograd.grad(expected.square().sum(), parameter)
    torch.testing.assert_close(gradient, expectation)


def test_what_a_compiled_model_cannot_see_is_refused() -> None:
    """Geometry of a context, and, without a cache and a mask, that rows are not packed."""
    torch._dynamo.reset()
    model = llama(num_hidden_layers=1)
    biased(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with use_geometry(geometry()), pytest.raises(Exception, match="compiled models do not see it"):
        compiled(**text())
    with pytest.raises(Exception, match=r"pass attention_mask \[B, L\]"):
        compiled(**text(), use_cache=False, geometry=geometry())
