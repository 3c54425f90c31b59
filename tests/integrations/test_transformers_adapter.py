"""Giving a Hugging Face model biases, keeping them, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartModel,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from g2vlm_fast.integrations.transformers import Geometry, GeometryAdapter, use_geometry
from g2vlm_fast.ops import (
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialBasis,
    SquaredDistance,
)

SPEC = BiasSpec(Distance(), Direction())
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 50,
}
IDS = torch.arange(1, 17).view(2, 8)


def llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2, **changes)).eval()


def geometry(rows: int = 2, tokens: int = 8) -> Geometry:
    return Geometry(torch.randn(rows, tokens, 3, generator=torch.Generator().manual_seed(1)))


def draw(adapter: GeometryAdapter) -> GeometryAdapter:
    generator = torch.Generator().manual_seed(2)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, generator=generator)
    return adapter


def test_biases_are_trained_alone() -> None:
    model = llama()
    adapter = draw(GeometryAdapter(model, SPEC))
    model.requires_grad_(False)
    adapter.requires_grad_(True)
    model(IDS, geometry=geometry()).logits.square().sum().backward()
    trained = {name for name, x in model.named_parameters() if x.grad is not None}
    assert trained == {
        f"model.layers.{layer}.self_attn.geometry_bias.parameters_per_head" for layer in range(3)
    }
    assert all(x.grad.abs().amin(0).max() > 0 for x in adapter.parameters())


def test_every_term_starts_at_nothing_and_learns() -> None:
    model = llama()
    plain = model(IDS).logits
    terms = (Distance(), SquaredDistance(), Direction(), NormalDot(), GaussianPowers(2))
    adapter = GeometryAdapter(model, BiasSpec(*terms, RadialBasis(3)))
    normal = nn.functional.normalize(geometry().position, dim=-1)
    where = Geometry(geometry().position, normal=normal)
    found = model(IDS, geometry=where).logits
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    found.square().sum().backward()
    learning = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11}  # slopes and weights: no widths, no centers
    for parameter in adapter.parameters():
        moving = parameter.grad.abs().amax(0) > 1e-9
        assert set(moving.nonzero().flatten().tolist()) == learning


def test_biases_are_saved_and_loaded_alone(tmp_path: Path) -> None:
    model = llama()
    adapter = draw(GeometryAdapter(model, SPEC))
    save_file(adapter.state_dict(), tmp_path / "biases.safetensors")
    assert {name for name in adapter.state_dict() if name != "_extra_state"} == {
        f"biases.{layer}.parameters_per_head" for layer in range(3)
    }
    again = llama()
    GeometryAdapter(again, SPEC).load_state_dict(load_file(tmp_path / "biases.safetensors"))
    expected = model(IDS, geometry=geometry()).logits
    assert torch.equal(again(IDS, geometry=geometry()).logits, expected)


def test_biases_are_in_the_state_of_the_model() -> None:
    model, again = llama(), llama()
    draw(GeometryAdapter(model, SPEC))
    GeometryAdapter(again, SPEC)
    again.load_state_dict(model.state_dict())
    expected = model(IDS, geometry=geometry()).logits
    assert torch.equal(again(IDS, geometry=geometry()).logits, expected)


def test_biases_of_other_terms_are_not_loaded() -> None:
    state = GeometryAdapter(llama(), BiasSpec(Distance())).state_dict()
    with pytest.raises(ValueError, match=r"Distance.*SquaredDistance"):
        GeometryAdapter(llama(), BiasSpec(SquaredDistance())).load_state_dict(state)


def test_one_part_of_a_model_has_geometry() -> None:
    """Patches of an image stand somewhere for the language model, and for no other part."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(**SIZES, image_size=12, patch_size=4)
    language = LlamaConfig(**SIZES, num_key_value_heads=2)
    config = LlavaConfig(vision_config=vision, text_config=language, image_token_index=49)
    model = LlavaForConditionalGeneration(config).eval()
    ids = torch.cat([torch.full((2, 9), 49), IDS], dim=1)
    inputs = {"input_ids": ids, "pixel_values": torch.randn(2, 3, 12, 12)}
    plain = model(**inputs).logits
    adapter = draw(GeometryAdapter(model, SPEC, part=model.model.language_model))
    assert len(adapter.biases) == 3
    assert torch.equal(model(**inputs).logits, plain)
    placed = (torch.arange(17) < 9).expand(2, -1)
    where = Geometry(geometry(tokens=17).position, placed)
    found = model(**inputs, geometry=where).logits
    assert (found - plain).abs().max() > 1e-2
    with use_geometry(where):
        assert torch.equal(model(**inputs).logits, found)
        words = model.generate(**inputs, max_new_tokens=1, do_sample=False)[:, -1]
    assert torch.equal(words, found[:, -1].argmax(-1))


def test_an_encoder_has_geometry_and_its_decoder_has_none() -> None:
    torch.manual_seed(0)
    sizes = {
        f"{side}_{name}": size
        for side in ("encoder", "decoder")
        for name, size in {"layers": 2, "attention_heads": 4, "ffn_dim": 48}.items()
    }
    config = BartConfig(vocab_size=50, d_model=32, init_std=0.3, **sizes)
    model = BartForConditionalGeneration(config).eval()
    inputs = {"input_ids": IDS + 3, "decoder_input_ids": torch.full((2, 1), 2)}
    plain = model(**inputs).logits
    draw(GeometryAdapter(model, SPEC, part=model.get_encoder()))
    found = model(**inputs, geometry=geometry()).logits
    assert (found - plain).abs().max() > 1e-2
    with use_geometry(geometry()):
        words = model.generate(**inputs, max_new_tokens=2, do_sample=False, num_beams=1)[:, 1]
    assert torch.equal(words, found[:, -1].argmax(-1))


def test_cross_attention_has_no_bias_unless_asked_for() -> None:
    sizes = {"encoder_layers": 1, "decoder_layers": 2, "d_model": 32, "vocab_size": 50}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    model = BartModel(BartConfig(**sizes, **heads))
    adapter = GeometryAdapter(model, SPEC)
    assert list(adapter.biases) == ["0", "1", "3"]  # 2 and 4 are called encoder_attn
    assert model.decoder.layers[0].encoder_attn.geometry_bias is None
    assert list(GeometryAdapter(BartModel(model.config), SPEC, layers=[2]).biases) == ["2"]


@pytest.mark.parametrize("some_stand_nowhere", [False, True])
def test_float64_positions_keep_their_digits_on_a_map(some_stand_nowhere: bool) -> None:
    model = llama()
    draw(GeometryAdapter(model, SPEC))
    placed = torch.arange(8).expand(2, -1) % 3 > 0 if some_stand_nowhere else None
    near = geometry().position
    far = near.double() + torch.tensor([4e6, -5e5, 80.0])  # where float32 moves in steps of 25 cm
    if placed is not None:
        far[~placed] = torch.nan
    padding = torch.ones(2, 8, dtype=torch.long)
    padding[0, :3] = 0
    expected = model(IDS, geometry=Geometry(near, placed), attention_mask=padding).logits
    found = model(IDS, geometry=Geometry(far, placed), attention_mask=padding).logits
    seen = padding.bool()
    torch.testing.assert_close(found[seen], expected[seen], rtol=1e-4, atol=1e-5)


def test_layers_left_out_are_plain() -> None:
    model, plain = llama(), llama()
    adapter = draw(GeometryAdapter(model, SPEC, layers=[1]))
    assert list(adapter.biases) == ["1"]
    assert not torch.equal(model(IDS, geometry=geometry()).logits, plain(IDS).logits)
    draw(GeometryAdapter(plain, SPEC, layers=[]))
    assert torch.equal(plain(IDS, geometry=geometry()).logits, llama()(IDS).logits)


def test_a_copy_of_the_model_has_biases_of_its_own() -> None:
    model = llama()
    adapter = draw(GeometryAdapter(model, SPEC))
    expected = model(IDS, geometry=geometry()).logits
    again = copy.deepcopy(model)
    nn.init.zeros_(adapter.biases["0"].parameters_per_head)
    assert torch.equal(again(IDS, geometry=geometry()).logits, expected)
    assert not torch.equal(model(IDS, geometry=geometry()).logits, expected)


def switch_checkpointing_on(model: LlamaForCausalLM) -> None:
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable()
    else:  # transformers before 5.20
        model.gradient_checkpointing_enable()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointing_of_activations_changes_no_gradient(dropout: float) -> None:
    results = []
    for checkpointing in (False, True):
        model = llama(attention_dropout=dropout)
        adapter = draw(GeometryAdapter(model, SPEC))
        if checkpointing:
            switch_checkpointing_on(model)
        model.train()
        model(IDS, geometry=geometry(), use_cache=False).logits.square().sum().backward()
        results.append([x.grad for x in adapter.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    with use_geometry(geometry()), pytest.raises(NotImplementedError, match="computed again"):
        model(IDS, use_cache=False)


@pytest.fixture
def process_group() -> Iterator[None]:
    """A group of this process alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_mixed_precision_of_fsdp_leaves_positions_and_biases_alone() -> None:
    model = llama()
    draw(GeometryAdapter(model, SPEC))
    far = Geometry(geometry().position + 300)  # bfloat16 would round by a metre
    expected = model(IDS, geometry=far).logits
    mesh = init_device_mesh("cpu", (1,))
    half = {"mesh": mesh, "mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16)}
    refused = copy.deepcopy(model)
    fully_shard(refused, **half)
    with pytest.raises(TypeError, match=r"fully_shard\(bias\)"):
        refused(IDS, geometry=far)
    for layer in model.model.layers:
        fully_shard(layer.self_attn.geometry_bias, mesh=mesh)
        fully_shard(layer, **half)
    fully_shard(model, **half)
    found = model(IDS, geometry=far).logits
    assert (found - expected).abs().max() < 0.02
    assert (model(IDS).logits - expected).abs().max() > 0.1
    found.sum().backward()
    assert all(
        layer.self_attn.geometry_bias.parameters_per_head.grad is not None
        for layer in model.model.layers
    )


@torch.no_grad()
def test_threads_share_a_model_and_not_their_geometry() -> None:
    model = llama()
    draw(GeometryAdapter(model, SPEC))
    places = [None, geometry(), Geometry(geometry().position * 2)]
    expected = [model(IDS, geometry=each).logits for each in places]

    def answer(number: int) -> bool:
        where = places[number % 3]
        if number % 2 or where is None:
            return torch.equal(model(IDS, geometry=where).logits, expected[number % 3])
        with use_geometry(where):
            return torch.equal(model(IDS).logits, expected[number % 3])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(answer, range(120)))


@torch.no_grad()
@pytest.mark.parametrize("compiled", ["layers", "all but the layers"])
def test_compiled_and_other_code_know_of_each_other(compiled: str) -> None:
    torch._dynamo.reset()
    model = llama()
    draw(GeometryAdapter(model, SPEC))
    expected = model(IDS, geometry=geometry()).logits
    run = model
    for layer in model.model.layers:
        if compiled == "layers":
            layer.compile(backend="eager")
        else:
            layer.self_attn.forward = torch.compiler.disable(layer.self_attn.forward)
            run = torch.compile(model, backend="eager")
    given = {"attention_mask": torch.ones_like(IDS), "use_cache": False}
    for _ in range(2):
        torch.testing.assert_close(run(IDS, geometry=geometry(), **given).logits, expected)


def test_layers_dropped_in_training_are_no_error() -> None:
    torch.manual_seed(0)
    sizes = {"encoder_layers": 8, "encoder_attention_heads": 4, "encoder_ffn_dim": 48}
    model = BartModel(BartConfig(vocab_size=50, d_model=32, encoder_layerdrop=0.5, **sizes))
    adapter = draw(GeometryAdapter(model, SPEC, part=model.encoder)).train()
    model.train()(IDS + 3, geometry=geometry()).last_hidden_state.square().sum().backward()
    trained = [parameter.grad is not None for parameter in adapter.parameters()]
    assert any(trained)
    assert not all(trained)
