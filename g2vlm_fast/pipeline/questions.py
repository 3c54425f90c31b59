"""Whether the model can read what it is asked."""

from __future__ import annotations

from collections.abc import Sequence

from g2vlm_fast.model import G2VLMConfig
from g2vlm_fast.model.language import encoder_config, load_tokenizer, longest_text
from g2vlm_fast.pipeline.config import ConfigError

_SHOWN = 40


def check_questions(questions: Sequence[str], config: G2VLMConfig) -> None:
    """Refuse questions of more tokens than the text encoder of a model reads.

    Raises:
        ConfigError: names the option, the question, its tokens and the limit.
    """
    if not questions:
        return
    tokenizer = load_tokenizer(config.text_encoder)
    limit = min(longest_text(encoder_config(config.text_encoder)), tokenizer.model_max_length)
    tokenized = tokenizer(list(questions), verbose=False)["input_ids"]
    for question, tokens in zip(questions, tokenized, strict=True):
        if len(tokens) > limit:
            raise ConfigError(
                f'--ask: the question "{question[:_SHOWN]}..." has {len(tokens)} tokens, but the '
                f"text encoder reads at most {limit:g}; ask in fewer words"
            )
