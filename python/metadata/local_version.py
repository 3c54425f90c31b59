"""The version of a build: the project's, and where G2VLM_LOCAL_VERSION names one, a local part.

CPU and CUDA wheels of one release differ by it: ``0.1.0+cpu``, ``0.1.0+cu130``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

VERSION = "0.1.0"


def dynamic_metadata(field: str, settings: Mapping[str, Any]) -> str:
    """Return the value of ``version`` for scikit-build-core."""
    if field != "version" or settings:
        raise ValueError("local_version provides `version` and takes no settings")
    local = os.environ.get("G2VLM_LOCAL_VERSION", "")
    return f"{VERSION}+{local}" if local else VERSION
