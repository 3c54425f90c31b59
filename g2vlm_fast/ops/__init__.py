"""Public ops. Importing this needs torch, numpy and the native module, and nothing else."""

from g2vlm_fast.ops._dispatch import BackendError, use_backend
from g2vlm_fast.ops.nearest import Nearest, nearest

__all__ = ["BackendError", "Nearest", "nearest", "use_backend"]
