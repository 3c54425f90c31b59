"""What geometry in Hugging Face models cannot be, or cannot go with: refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    GptOssConfig,
    GptOssModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralModel,
    StaticCache,
)

from g2vlm_fast.integrations.transformers import Geometry, GeometryAdapter, use_geometry
from g2vlm_fast.ops import BiasSpec, Direction, Distance

SPEC = BiasSpec(Distance(), Direction())
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 50,
}
IDS = torch.arange(1, 17).view(2, 8)


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)).eval()


def geometry(rows: int = 2, tokens: int = 8) -> Geometry:
    return Geometry(torch.randn(rows, tokens, 3, generator=torch.Generator().manual_seed(1)))


def draw(adapter: GeometryAdapter) -> GeometryAdapter:
    generator = torch.Generator().manual_seed(2)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, generator=generator)
    return adapter


class Forgetful(BertModel):
    """Keeps no argument but the first, on the way to its encoder."""

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        return super().forward(input_ids)


def test_a_model_that_drops_geometry_is_found_out() -> None:
    model = Forgetful(BertConfig(**SIZES)).eval()
    draw(GeometryAdapter(model, SPEC))
    plain = model(IDS)[0]
    with pytest.raises(RuntimeError, match="did not reach attention layers"):
        model(IDS, geometry=geometry())
    whole = Forgetful(BertConfig(**SIZES)).eval()
    GeometryAdapter(whole, SPEC, part=whole.encoder)
    with pytest.raises(RuntimeError, match="did not reach BertEncoder"):
        whole(IDS, geometry=geometry())
    whole(IDS)
    with use_geometry(geometry()):
        assert not torch.equal(model(IDS)[0], plain)
        model.set_attn_implementation("eager")
        with pytest.raises(RuntimeError, match='must be "geometry"'):
            model(IDS)


def test_geometry_without_an_adapter_is_refused() -> None:
    model = llama()
    model.set_attn_implementation("geometry")
    with pytest.raises(RuntimeError, match="belongs to no adapter"):
        model(IDS, geometry=geometry())


def test_geometry_that_is_not_of_the_tokens_is_refused() -> None:
    model = llama()
    GeometryAdapter(model, SPEC)
    with pytest.raises(ValueError, match="special tokens included"):
        model(IDS, geometry=geometry(tokens=7))
    with pytest.raises(ValueError, match="repeat_interleave"):
        model(IDS, geometry=geometry(rows=1))
    with pytest.raises(TypeError, match="must be a Geometry"):
        model(IDS, geometry=geometry().position)
    with pytest.raises(ValueError, match=r"pass geometry.to\(device\)"):
        model(IDS, geometry=geometry().to("meta"))


@torch.no_grad()
def test_geometry_of_new_tokens_alone_is_refused() -> None:
    model = llama()
    draw(GeometryAdapter(model, SPEC))
    whole = geometry()
    expected = model(IDS, geometry=whole).logits[:, 6:]
    cache = model(IDS[:, :6], geometry=Geometry(whole.position[:, :6])).past_key_values
    with pytest.raises(ValueError, match="those in the cache"):
        model(IDS[:, 6:], geometry=Geometry(whole.position[:, 6:]), past_key_values=cache)
    cache = model(IDS[:, :6], geometry=Geometry(whole.position[:, :6])).past_key_values
    found = model(IDS[:, 6:], geometry=whole, past_key_values=cache).logits
    torch.testing.assert_close(found, expected)


def test_masks_beyond_causality_and_padding_are_refused() -> None:
    model = llama()
    GeometryAdapter(model, SPEC)
    scores = torch.zeros(2, 1, 8, 8)
    with pytest.raises(NotImplementedError, match=r"pass attention_mask \[B, L\]"):
        model(IDS, attention_mask=scores, geometry=geometry())
    packed = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]]).expand(2, -1)
    with pytest.raises(NotImplementedError, match=r"pass attention_mask \[B, L\]"):
        model(IDS, position_ids=packed, use_cache=False, geometry=geometry())


def test_a_sliding_window_is_refused() -> None:
    sizes = SIZES | {"num_key_value_heads": 2, "sliding_window": 4}
    model = MistralModel(MistralConfig(**sizes)).eval()
    GeometryAdapter(model, SPEC)
    model(IDS)
    with pytest.raises(NotImplementedError, match="sliding_window is not honoured"):
        model(IDS, geometry=geometry())


@pytest.mark.parametrize(
    "name", ["softcap", "position_bias", "cache", "cu_seq_lens_q", "cu_seq_lens_k"]
)
def test_what_attention_cannot_honour_is_refused_by_name(name: str) -> None:
    model = llama()
    GeometryAdapter(model, SPEC)
    with pytest.raises(NotImplementedError, match=f"{name} is not honoured; "):
        model(IDS, geometry=geometry(), **{name: torch.ones(3)})


def test_attention_sinks_are_refused_with_and_without_geometry() -> None:
    sizes = SIZES | {"num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 2}
    model = GptOssModel(GptOssConfig(**sizes)).eval()
    with pytest.raises(ValueError, match="does not run under sdpa"):
        GeometryAdapter(model, SPEC)
    model.set_attn_implementation("geometry")
    with pytest.raises(NotImplementedError, match="sinks"):
        model(IDS)


def test_a_static_cache_is_refused() -> None:
    model = llama()
    GeometryAdapter(model, SPEC)
    cache = StaticCache(config=model.config, max_cache_len=16)
    with pytest.raises(NotImplementedError, match="DynamicCache"):
        model(IDS, past_key_values=cache, geometry=geometry())


def test_generation_says_that_geometry_is_a_context() -> None:
    """As an argument transformers would refuse it without a remedy; the docstring gives one."""
    model = llama()
    GeometryAdapter(model, SPEC)
    with pytest.raises(ValueError, match="geometry"):
        model.generate(IDS, geometry=geometry(), max_new_tokens=2)


@pytest.mark.parametrize("way", ["without a cache", "with an assistant"])
def test_generation_in_which_geometry_is_too_short_is_refused(way: str) -> None:
    model = llama()
    GeometryAdapter(model, SPEC)
    how = {"use_cache": False} if way == "without a cache" else {"assistant_model": llama()}
    where = Geometry(geometry().position[:1])
    with use_geometry(where), pytest.raises(ValueError, match="generate with a cache and without"):
        model.generate(IDS[:1], max_new_tokens=4, do_sample=False, eos_token_id=None, **how)


def test_bad_geometry_is_refused_by_name() -> None:
    position = torch.zeros(2, 8, 3)
    with pytest.raises(TypeError, match="half precision"):
        Geometry(position.bfloat16())
    with pytest.raises(ValueError, match=r"\[B, L, 3\]"):
        Geometry(position[0])
    with pytest.raises(TypeError, match="placed must be bool"):
        Geometry(position, torch.ones(2, 8))
    with pytest.raises(ValueError, match=r"placed must be \[2, 8\]"):
        Geometry(position, torch.ones(2, 7, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"position must be a torch.Tensor, got list"):
        Geometry([[0.0, 0.0, 0.0]])
    with pytest.raises(TypeError, match=r"placed must be a torch.Tensor, got list"):
        Geometry(position, [[True] * 8] * 2)
    with pytest.raises(ValueError, match="normal must be on cpu as position is, got meta"):
        Geometry(position, normal=position.to("meta"))
    with (
        pytest.raises(TypeError, match="use_geometry: expected a Geometry, got Tensor"),
        use_geometry(position),
    ):
        pass


def test_models_that_cannot_have_biases_are_refused() -> None:
    model = llama()
    with pytest.raises(TypeError, match="PreTrainedModel"):
        GeometryAdapter(nn.Linear(3, 3), SPEC)
    with pytest.raises(ValueError, match="part must be a module of LlamaForCausalLM"):
        GeometryAdapter(model, SPEC, part=nn.Linear(3, 3))
    with pytest.raises(ValueError, match="no attention of Linear"):
        GeometryAdapter(model, SPEC, part=model.lm_head)
    with pytest.raises(ValueError, match="from 0 to 2"):
        GeometryAdapter(model, SPEC, layers=[3])
    with pytest.raises(TypeError, match="BiasSpec"):
        GeometryAdapter(model, Distance())
    GeometryAdapter(model, SPEC)  # refusals have left the model as it was
    with pytest.raises(ValueError, match="has an adapter already"):
        GeometryAdapter(model, SPEC)
