"""How a backend is chosen, and how a choice that cannot be is refused."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
import torch

from g2vlm_fast import backend_report
from g2vlm_fast.ops import BackendError, nearest, use_backend
from g2vlm_fast.ops import _dispatch as dispatch
from g2vlm_fast.ops._dispatch import backend_of, parse_choices, register_backend


def test_the_native_kernel_is_the_default() -> None:
    assert backend_of("nearest", "cpu", torch.float32) == "cpu"


def test_a_choice_holds_inside_its_block_and_for_its_ops() -> None:
    with use_backend("reference", "nearest"):
        assert backend_of("nearest", "cpu", torch.float32) == "reference"
        assert backend_of("nearest_backward", "cpu", torch.float32) == "reference"
        assert backend_of("graph_reduce", "cpu", torch.float32) == "cpu"
        with use_backend("cpu"):
            assert backend_of("nearest", "cpu", torch.float32) == "cpu", "the inner one wins"
    assert backend_of("nearest", "cpu", torch.float32) == "cpu"


def test_an_op_chooses_for_both_passes_and_a_backward_pass_alone_for_none() -> None:
    assert {dispatch.stem(op) for op in dispatch.table()} == set(dispatch.stems())
    assert not any(name.endswith("_backward") for name in dispatch.stems())
    for name in ("nearest_backward", ["nearest"], None):
        with pytest.raises(ValueError, match=r"is not an op; ops are \["), use_backend("cpu", name):
            pass


def test_the_backward_pass_runs_where_its_op_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    for op in ("nearest", "nearest_backward"):
        kept = dispatch._TABLE[op]["reference"]

        def watched(*arguments: object, op: str = op, run: Any = kept.run) -> object:
            ran.append(op)
            return run(*arguments)

        watcher = dataclasses.replace(kept, run=watched)
        monkeypatch.setitem(dispatch._TABLE[op], "reference", watcher)
    query = torch.rand(4, 3, requires_grad=True)
    with use_backend("reference", "nearest"):
        nearest(query, torch.rand(5, 3))[0].sum().backward()
    assert ran == ["nearest", "nearest_backward"]


def test_the_report_shows_the_choices_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend_report()["overrides"] == []
    monkeypatch.setenv("G2VLM_BACKEND", "edge_conv=reference")
    dispatch._environment.cache_clear()
    try:
        with use_backend("reference"), use_backend("cpu", "nearest", "edge_conv"):
            assert backend_report()["overrides"] == [
                ("use_backend", {"nearest": "cpu", "edge_conv": "cpu"}),
                ("use_backend", {"*": "reference"}),
                ("G2VLM_BACKEND", {"edge_conv": "reference"}),
            ]
    finally:
        monkeypatch.undo()
        dispatch._environment.cache_clear()


def test_the_environment_cannot_name_what_is_no_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G2VLM_BACKEND", "nearest_backward=reference")
    dispatch._environment.cache_clear()
    try:
        with pytest.raises(BackendError, match=r"\['nearest_backward'\] are no ops; ops are"):
            nearest(torch.rand(2, 3), torch.rand(2, 3))
    finally:
        monkeypatch.undo()
        dispatch._environment.cache_clear()


def test_a_choice_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), use_backend("reference"):
        raise KeyError
    assert backend_of("nearest", "cpu", torch.float32) == "cpu"


def test_a_choice_reaches_other_threads_as_autograd_has_its_own() -> None:
    found = []
    with use_backend("reference"):
        thread = threading.Thread(
            target=lambda: found.append(backend_of("nearest", "cpu", torch.float32))
        )
        thread.start()
        thread.join()
    assert found == ["reference"]


def test_a_compiled_graph_keeps_no_choice() -> None:
    torch._dynamo.reset()
    runs = []
    implementations = dispatch._TABLE["nearest"]
    kept = implementations["reference"]

    def watched(*arguments: object) -> object:
        runs.append(len(arguments))
        return kept.run(*arguments)

    compiled = torch.compile(nearest, fullgraph=True, backend="aot_eager")
    query, target = torch.rand(5, 3), torch.rand(6, 3)
    compiled(query, target)
    try:
        register_backend(
            "nearest", "reference", watched, devices=("cpu",), dtypes=dispatch.FLOAT32_64
        )
        with use_backend("reference"):
            compiled(query, target)
    finally:
        implementations["reference"] = kept
    assert len(runs) == 1


def test_the_environment_names_backends_for_all_ops_or_for_some() -> None:
    assert parse_choices("reference") == {"*": "reference"}
    assert parse_choices("nearest=cpu, edge_conv = reference") == {
        "nearest": "cpu",
        "edge_conv": "reference",
    }
    assert parse_choices("") == {}
    with pytest.raises(BackendError, match="'fast' is not a backend"):
        parse_choices("nearest=fast")


def test_the_environment_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G2VLM_BACKEND", "nearest=reference")
    dispatch._environment.cache_clear()
    try:
        assert backend_of("nearest", "cpu", torch.float32) == "reference"
        with use_backend("cpu"):
            assert backend_of("nearest", "cpu", torch.float32) == "cpu"
    finally:
        monkeypatch.undo()
        dispatch._environment.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("triton", "nearest"), "no triton implementation"),
        (("cuda", "nearest"), "move the tensors or choose another backend"),
    ],
)
def test_a_backend_that_cannot_run_says_why(arguments: tuple[str, str], message: str) -> None:
    with use_backend(*arguments), pytest.raises(BackendError, match=message):
        nearest(torch.rand(2, 3), torch.rand(2, 3))


def test_a_dtype_that_a_backend_does_not_take_is_refused() -> None:
    with pytest.raises(BackendError, match="takes float32, float64, got bfloat16"):
        backend_of("nearest", "cpu", torch.bfloat16)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="backend must be one of"), use_backend("fast"):
        pass
    with pytest.raises(ValueError, match="'near' is not an op"), use_backend("cpu", "near"):
        pass
    with pytest.raises(ValueError, match="backend must be one of"):
        register_backend("nearest", "fast", nearest, devices=(), dtypes=dispatch.FLOATS)
