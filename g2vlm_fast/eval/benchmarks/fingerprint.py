"""A digest of whatever decides what is given, asked and true."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any


def fingerprint_of(parts: Mapping[str, Any]) -> str:
    """Digest numbers, names, dataclasses and lists of them: 16 hexadecimal digits.

    Raises:
        TypeError: a part is none of these.
    """
    text = json.dumps(parts, sort_keys=True, default=_plain, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"fingerprint_of: cannot digest a {type(value).__name__}")
