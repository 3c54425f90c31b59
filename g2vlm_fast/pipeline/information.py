"""What ``g2vlm-fast info`` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SIZES = ("tiny", "small", "base", "large")


def information() -> Iterator[Any]:
    """Yield rich renderables: the build, the backends, the ops, the sizes of the model."""
    from rich.table import Table

    from g2vlm_fast import backend_report

    report = backend_report()
    build = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    cuda = report["cuda"]
    compiled = (
        f"toolkit {cuda['toolkit']}, {', '.join(cuda['architectures'])}" if cuda else "not built"
    )
    rows = {"version": report["version"], "torch": report["torch"], "device": report["device"]}
    for name, value in {**rows, "CUDA kernels": compiled}.items():
        build.add_row(name, str(value))
    yield build
    backends = Table("backend", "here", title="Backends", title_justify="left")
    for name, reason in report["backends"].items():
        backends.add_row(name, "[green]usable[/green]" if reason is None else reason)
    yield backends
    ops = Table("op", "backends", title="Ops", title_justify="left")
    for name, names in report["ops"].items():
        ops.add_row(name, ", ".join(names))
    yield ops
    if report["overrides"]:
        chosen = Table("chosen by", "op", "backend", title="Overrides", title_justify="left")
        for source, choices in report["overrides"]:
            for name, backend in choices.items():
                chosen.add_row(source, "every op" if name == "*" else name, backend)
        yield chosen
    yield _sizes()


def _sizes() -> Any:
    import torch
    from rich.table import Table

    from g2vlm_fast.data import AnswerVocabulary
    from g2vlm_fast.model import G2VLM, G2VLMConfig

    table = Table("size", "trained parameters", "parts", title="Models", title_justify="left")
    for name in _SIZES:
        config = getattr(G2VLMConfig, name)(answer_vocabulary=AnswerVocabulary().words)
        with torch.device("meta"):
            model = G2VLM(config)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        table.add_row(name, f"{trained:,}", model.summary())
    return table
