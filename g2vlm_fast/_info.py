"""What was built, what can run here, and why not."""

from __future__ import annotations

from typing import Any

from g2vlm_fast import _C

__version__: str = _C.version


def backend_report() -> dict[str, Any]:
    """Describe the build and this machine.

    Returns:
        ``version``; ``cuda``: toolkit version and architectures compiled in, or None;
        ``torch`` and ``device``; ``backends``: name -> None where usable, else the reason why
        not; ``ops``: op -> the backends it has; ``overrides``: what ``use_backend`` and the
        environment variable ``G2VLM_BACKEND`` ask for now, the choice that decides first: pairs
        of where it comes from and its backends by op, ``"*"`` for all ops.
    """
    import torch

    from g2vlm_fast import ops  # noqa: F401  (registers the table)
    from g2vlm_fast.ops import _dispatch

    cuda = None
    if _C.cuda_architectures:
        cuda = {"toolkit": _C.cuda_version, "architectures": _C.cuda_architectures.split(",")}
    available = torch.cuda.is_available()
    return {
        "version": __version__,
        "cuda": cuda,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if available else "cpu",
        "backends": {name: _dispatch.unavailable(name) for name in _dispatch.BACKENDS},
        "ops": {op: sorted(implementations) for op, implementations in _dispatch.table().items()},
        "overrides": _dispatch.overrides(),
    }
