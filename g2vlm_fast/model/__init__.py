"""The model: configuration, geometry encoder, language encoder, fusion, heads, and the whole."""

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.encoded import Encoded
from g2vlm_fast.model.g2vlm import G2VLM

__all__ = ["G2VLM", "Encoded", "G2VLMConfig"]
