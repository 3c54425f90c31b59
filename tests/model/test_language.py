"""The language encoder: the packaged weights, the cache, what is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from g2vlm_fast.model import G2VLM, G2VLMConfig
from g2vlm_fast.model.language import FrozenEncoder, encoder_location
from g2vlm_fast.records import SceneBatch, Targets

Rooms = tuple[SceneBatch, Targets]

TEXTS = ["the red chair", "what is left of the table?", "a bed", "the red chair"]


@pytest.fixture(scope="module")
def packaged() -> G2VLM:
    torch.manual_seed(0)
    return G2VLM(G2VLMConfig.tiny()).eval()


def tokens_of(model: G2VLM, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = model.tokenizer()(texts)["input_ids"]
    offsets = torch.tensor([0, *map(len, ids)]).cumsum(0).int()
    return torch.tensor([token for text in ids for token in text]), offsets


def test_the_packaged_encoder_knows_what_words_mean(packaged: G2VLM) -> None:
    ids, offsets = tokens_of(packaged, ["a sofa", "a couch", "a lamp"])
    feature = packaged.language_encoder.frozen(ids, offsets)
    parts = feature.tensor_split(offsets[1:-1].long())
    mean = torch.nn.functional.normalize(torch.stack([part.mean(0) for part in parts]), dim=-1)
    assert mean[0] @ mean[1] > 0.7
    assert mean[0] @ mean[2] < 0.6


def test_what_is_remembered_is_what_was_computed(packaged: G2VLM) -> None:
    ids, offsets = tokens_of(packaged, TEXTS)
    encoder = FrozenEncoder(packaged.config.text_encoder, capacity=100)
    computed = encoder(ids, offsets)
    assert len(encoder.cache) == 3
    assert torch.equal(encoder(ids, offsets), computed)
    alone, alone_offsets = tokens_of(packaged, TEXTS[1:2])
    fresh = FrozenEncoder(packaged.config.text_encoder, capacity=100)(alone, alone_offsets)
    rows = slice(*offsets[1:3].tolist())
    torch.testing.assert_close(computed[rows], fresh, atol=1e-5, rtol=1e-5)


def test_the_cache_forgets_the_oldest_texts(packaged: G2VLM) -> None:
    encoder = FrozenEncoder(packaged.config.text_encoder, capacity=2)
    encoder._module = packaged.language_encoder.frozen.module(torch.device("cpu"))
    for text in ("a", "b", "a", "c"):
        encoder(*tokens_of(packaged, [text]))
    kept = set(encoder.cache)
    wanted = {tuple(packaged.tokenizer()(text)["input_ids"]) for text in ("a", "c")}
    assert kept == wanted


def test_a_named_frozen_encoder_is_not_stored(packaged: G2VLM, tmp_path: Path) -> None:
    from safetensors import safe_open

    packaged.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        names = list(file.keys())
    assert names
    assert not [name for name in names if "language_encoder.encoder" in name]
    loaded = G2VLM.from_pretrained(tmp_path).eval()
    ids, offsets = tokens_of(packaged, TEXTS)
    wanted = packaged.language_encoder(ids, offsets)
    assert torch.equal(loaded.language_encoder(ids, offsets).token, wanted.token)


def test_a_trained_encoder_starts_from_its_weights_and_is_stored(tmp_path: Path) -> None:
    model = G2VLM(G2VLMConfig.tiny(train_text_encoder=True)).eval()
    frozen = G2VLM(G2VLMConfig.tiny()).eval()
    ids, offsets = tokens_of(model, TEXTS)
    wanted = frozen.language_encoder.frozen(ids, offsets)
    from g2vlm_fast.model.language import run_encoder
    from g2vlm_fast.model.packing import lengths

    found = run_encoder(model.language_encoder.encoder, ids, lengths(offsets))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        next(model.language_encoder.encoder.parameters()).mul_(1.5)
    model.save_pretrained(tmp_path)
    loaded = G2VLM.from_pretrained(tmp_path).eval()
    assert torch.equal(
        loaded.language_encoder(ids, offsets).token, model.language_encoder(ids, offsets).token
    )


def test_a_folder_is_an_encoder_too(rooms: Rooms) -> None:
    model = G2VLM(G2VLMConfig.tiny(text_encoder=encoder_location("all-MiniLM-L6-v2"))).eval()
    assert model(rooms[0]).text_embedding.isfinite().all()


def test_an_encoder_without_a_name_has_no_tokenizer(make_model: Callable[..., G2VLM]) -> None:
    with pytest.raises(ValueError, match="no tokenizer"):
        make_model().tokenizer()


def test_a_text_without_a_token_says_so(model: G2VLM) -> None:
    ids, offsets = torch.tensor([5, 6]), torch.tensor([0, 0, 2], dtype=torch.int32)
    with pytest.raises(ValueError, match="text without a token"):
        model.language_encoder(ids, offsets)


def test_a_text_that_is_too_long_says_by_how_much(packaged: G2VLM) -> None:
    ids = torch.full((2 + 513,), 2003)
    offsets = torch.tensor([0, 2, 515], dtype=torch.int32)
    with pytest.raises(ValueError, match=r"text 1 has 513 tokens, .* at most 512"):
        packaged.language_encoder(ids, offsets)
