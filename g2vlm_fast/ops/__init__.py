"""Public ops. Importing this needs torch, numpy and the native module, and nothing else."""

from g2vlm_fast.ops._dispatch import BackendError, use_backend
from g2vlm_fast.ops.nearest import nearest

__all__ = ["BackendError", "nearest", "use_backend"]
