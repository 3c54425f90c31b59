"""Few queries over many keys: keys are divided into shares and merged as if they were not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

pytest.importorskip("triton", reason="triton is not installed")

from g2vlm_fast.kernels.triton import geometry_attention_decode_launch as decode_launch
from g2vlm_fast.kernels.triton import geometry_attention_launch as launch
from g2vlm_fast.kernels.triton.geometry_attention_tiles import Problem, Sizes
from g2vlm_fast.ops import BiasSpec, Direction, Distance, geometry_attention, use_backend
from g2vlm_fast.ops._geometry_attention_arguments import Options, Tokens, empty_results
from g2vlm_fast.ops.specs import cast_inputs, relative_error
from g2vlm_fast.ops.specs.attention_tokens import everything
from g2vlm_fast.ops.specs.compare import widen_inputs
from g2vlm_fast.ops.specs.geometry_attention import SPEC

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = (torch.float32, torch.float16)
TERMS = BiasSpec(Distance(0.05), Direction())


class NeverLaunched:
    def __getitem__(self, grid: Any) -> Any:
        raise AssertionError("the kernel for many queries was launched")


@pytest.fixture(autouse=True)
def only_for_few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "forward_kernel", NeverLaunched())


def packed(lengths: tuple[int, ...]) -> Tensor:
    return torch.tensor([0, *lengths], device=DEVICE).cumsum(0).int()


def draw(
    queries: tuple[int, ...],
    keys: tuple[int, ...],
    heads: int = 4,
    kv_heads: int = 1,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE)

    rows, k_rows = sum(queries), sum(keys)
    return {
        "q": normal(rows, heads, 16).to(dtype),
        "k": normal(k_rows, kv_heads, 16).to(dtype),
        "v": normal(k_rows, kv_heads, 16).to(dtype),
        "bias": TERMS,
        "bias_parameters": normal(heads, TERMS.num_parameters),
        "q_position": normal(rows, 3),
        "k_position": normal(k_rows, 3),
        "q_offsets": packed(queries),
        "k_offsets": packed(keys),
        "return_lse": True,
        "return_position_mean": True,
    }


def attend(inputs: dict[str, Any], backend: str = "triton") -> list[Tensor]:
    with use_backend(backend, "geometry_attention"), torch.no_grad():
        return pytree.tree_leaves(geometry_attention(**inputs))


def assert_right(inputs: dict[str, Any]) -> None:
    tolerance = SPEC.tolerance[inputs["q"].dtype].forward
    truth = attend(widen_inputs(inputs), "reference")
    for actual, expected in zip(attend(inputs), truth, strict=True):
        assert relative_error(actual, expected) <= tolerance


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("queries", "keys", "heads", "kv_heads"),
    [
        ((1,), (256,), 4, 1),
        ((2,), (333,), 2, 2),
        ((1, 0, 19), (500, 60, 208), 3, 1),
        ((16,), (257,), 5, 1),
        ((1, 1, 1, 1), (1, 0, 1000, 23), 2, 1),
    ],
)
def test_shares_merge_to_attention_over_all_keys(
    queries: tuple[int, ...], keys: tuple[int, ...], heads: int, kv_heads: int, dtype: torch.dtype
) -> None:
    assert_right(draw(queries, keys, heads, kv_heads, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_term_and_option_at_once_is_right(dtype: torch.dtype) -> None:
    drawn = everything((2, 9), (300, 212))(torch.Generator().manual_seed(0))
    assert_right(cast_inputs(drawn, dtype, DEVICE, float32_inputs=SPEC.float32_inputs))


@pytest.mark.parametrize("option", ["causal", "k_mask", "q_gate", "dropout", "plain"])
def test_each_option_alone_is_right(option: str) -> None:
    inputs = draw((3, 9), (300, 240))
    generator = torch.Generator().manual_seed(1)
    if option == "causal":
        inputs["causal"] = True
    elif option == "k_mask":
        mask = torch.rand(540, generator=generator).to(DEVICE) < 0.7
        mask[300:500] = False
        inputs["k_mask"] = mask
        for name in ("k", "v", "k_position"):
            inputs[name][~mask] = torch.nan
    elif option == "q_gate":
        gate = torch.rand(12, 4, generator=generator).to(DEVICE)
        inputs["q_gate"] = torch.where(gate < 0.4, 0.0, gate)
        inputs["q_position"][5] = torch.nan
        inputs["q_gate"][5] = 0
    elif option == "dropout":
        inputs |= {"dropout": 0.4, "dropout_seed": torch.tensor([9], device=DEVICE)}
    else:
        inputs |= {"bias": None, "bias_parameters": None, "q_position": None}
    assert_right(inputs)


def test_causal_queries_before_the_first_key_see_nothing() -> None:
    inputs = draw((12, 2), (5, 600)) | {"causal": True}
    out, lse, mean, spread = attend(inputs)
    assert (out[:7] == 0).all()
    assert (lse[:7] == -torch.inf).all()
    assert (mean[:7] == 0).all()
    assert (spread[:7] == torch.inf).all()
    assert_right(inputs)


def test_rows_without_keys_answer_nothing() -> None:
    out, lse, mean, spread = attend(draw((3, 2), (0, 600)))
    assert (out[:3] == 0).all()
    assert (lse[:3] == -torch.inf).all()
    assert (mean[:3] == 0).all()
    assert (spread[:3] == torch.inf).all()
    for each in (out, lse, mean, spread):
        assert each[3:].isfinite().all()


def test_runs_are_bitwise_equal() -> None:
    inputs = draw((1, 5), (300, 280), dtype=torch.float16)
    for first, second in zip(attend(inputs), attend(inputs), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("programs", [1, 3, 10**6])
def test_any_number_of_shares_gives_the_same_answer(
    programs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = draw((1, 2), (500, 12))
    expected = attend(inputs)
    monkeypatch.setattr(decode_launch, "PROGRAMS", programs)
    monkeypatch.setattr(decode_launch, "MIN_SHARE", 5)
    monkeypatch.setattr(decode_launch, "CHUNK", 2 if programs == 3 else 32)
    for actual, truth in zip(attend(inputs), expected, strict=True):
        assert relative_error(actual, truth) < 2e-6


def test_few_queries_get_the_answer_of_the_kernel_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = draw((1, 6), (290, 230), heads=2, dtype=torch.float16)
    few = attend(inputs)
    monkeypatch.undo()
    monkeypatch.setattr(launch, "has_few_queries", lambda sizes, problem: False)
    monkeypatch.setattr(launch, "decode", None)
    for actual, truth in zip(few, attend(inputs), strict=True):
        assert relative_error(actual, truth) <= SPEC.tolerance[torch.float16].forward


def test_a_broken_scene_stays_alone() -> None:
    inputs = draw((2, 3), (270, 290))
    whole = attend(inputs)
    for name in ("k", "v", "k_position"):
        inputs[name][:30] = torch.nan
    for broken, each in zip(attend(inputs), whole, strict=True):
        assert torch.equal(broken[2:], each[2:])
        assert broken[:2].isnan().all()


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # of the interpreter
def test_a_broken_head_of_a_query_stays_alone() -> None:
    inputs = draw((2, 1), (270, 290))
    whole = attend(inputs)
    inputs["q"][1, 2] = torch.nan
    for broken, each in zip(attend(inputs), whole, strict=True):
        assert broken[1, 2].isnan().all()
        broken[1, 2] = each[1, 2]
        assert torch.equal(broken, each)


def test_rows_that_broken_offsets_leave_out_are_not_a_number() -> None:
    x = draw((4, 4), (300, 260))
    tokens = Tokens(
        x["q"], x["k"], x["v"], x["bias_parameters"], None, x["q_position"], x["k_position"], None,
        None, None, packed((4, 1)), x["k_offsets"], None,
    )  # fmt: skip
    results = empty_results(tokens.q, position_mean=True)
    launch.forward(
        tokens, Options(TERMS.codes, TERMS.counts, TERMS.eps, False, 0.25, 0.0), True, results
    )
    for each in results:
        assert each[:5].isfinite().all()
        assert each[5:].isnan().all()


def shapes(
    queries: int, keys: int, segments: int, heads: int, kv_heads: int, dtype: str = "bf16"
) -> tuple[Sizes, Problem]:
    sizes = Sizes(queries, keys, segments, 1.0, 1e-3, 0, 1.0)
    return sizes, Problem(
        heads, heads // kv_heads, 128, 128, dtype, False, 1, False, False, False, 1
    )


@pytest.mark.parametrize(
    ("given", "few"),
    [
        (shapes(8, 8 * 65536, 8, 16, 4), True),
        (shapes(16, 256, 1, 16, 16), True),
        (shapes(17, 4096, 1, 16, 16), False),
        (shapes(4, 255, 1, 16, 16), False),
        (shapes(0, 4096, 1, 16, 16), False),
        (shapes(0, 0, 0, 16, 16), False),
        (shapes(1, 4096, 1, 64, 1), True),
        (shapes(1, 4096, 1, 128, 1), False),
        (shapes(1, 4096, 1, 64, 1, "fp32"), False),
        (shapes(8 * 512, 8 * 4096, 8, 16, 16), False),
    ],
)
def test_shapes_alone_say_whether_queries_are_few(given: tuple[Sizes, Problem], few: bool) -> None:
    assert decode_launch.has_few_queries(*given) == few


@pytest.mark.parametrize(
    ("given", "rows", "shares"),
    [
        (shapes(8, 8 * 65536, 8, 16, 4), 16, 32),
        (shapes(1, 65536, 1, 16, 4), 16, 128),
        (shapes(128, 8 * 65536, 8, 16, 4), 64, 32),
        (shapes(6, 2 * 4096, 2, 24, 8), 16, 32),
        (shapes(16, 4096, 1, 64, 1), 64, 32),
        (shapes(16, 4096, 1, 64, 8, "fp32"), 16, 32),
        (shapes(4096, 4096 * 300, 4096, 8, 8), 16, 1),
    ],
)
def test_tiles_hold_a_group_and_shares_fill_the_device(
    given: tuple[Sizes, Problem], rows: int, shares: int
) -> None:
    assert decode_launch.rows_of(*given) == rows
    assert decode_launch.shares_of(*given) == shares
