"""Tiles that are skipped hold at most eps of any row, and nothing at all where eps is 0."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

from g2vlm_fast.kernels.triton import geometry_attention_launch as launch
from g2vlm_fast.kernels.triton.geometry_attention_skip_launch import (
    kept_keys,
    kept_queries,
    skipping_of,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import Kept
from g2vlm_fast.ops import AnchorContext, BiasSpec, SquaredDistance, geometry_attention
from g2vlm_fast.ops._geometry_attention_arguments import Options, Tokens
from g2vlm_fast.ops.reference.geometry_attention import geometry_attention as reference
from g2vlm_fast.ops.specs import run_on
from g2vlm_fast.ops.specs.attention_rooms import room_surfaces
from g2vlm_fast.ops.specs.geometry_attention import SPEC

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BLOCK = 16
BLOCKS = {"BLOCK_Q": BLOCK, "BLOCK_K": BLOCK, "num_warps": 4, "num_stages": 1}
HEADS, KEY_HEADS, DIM = 4, 2, 16
DISTANCE, SQUARED, DIRECTION, NORMAL, POWERS, BASIS, KNOTS, STEPS = range(8)
COLUMNS = {
    DISTANCE: 1, SQUARED: 1, DIRECTION: 3, NORMAL: 3, POWERS: 3, BASIS: 6, KNOTS: 9, STEPS: 15
}  # fmt: skip
# Beyond what any float32 probability can be.
UNDERFLOW = 2.0**-149

Scene = tuple[dict[str, Any], list[int], bool]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def corridor(count: int, seed: int = 0) -> Tensor:
    """Return points along 16 m, in order."""
    position = 0.1 * numbers(count, 3, seed=seed)
    position[:, 0] += torch.linspace(0, 16, count)
    return position


def tokens_of(queries: int, keys: int, parameters: Tensor, **given: Any) -> dict[str, Any]:
    return {
        "q": numbers(queries, HEADS, DIM),
        "k": numbers(keys, KEY_HEADS, DIM, seed=1),
        "v": numbers(keys, KEY_HEADS, DIM, seed=2),
        "bias_parameters": parameters,
        "q_position": corridor(queries),
        "k_position": corridor(keys, 1),
        **given,
    }


def slopes(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def offsets(*lengths: int) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def of_squares() -> Scene:
    return tokens_of(96, 90, slopes(20, 5, 200, 60)), [SQUARED], False


def linear() -> Scene:
    return tokens_of(96, 90, slopes(20, 5, 200, 60)), [DISTANCE], False


def slopes_that_do_not_decay() -> Scene:
    return tokens_of(80, 80, slopes(0.0, -3.0, 40, -200)), [SQUARED], False


def huge_slopes() -> Scene:
    x = tokens_of(80, 80, slopes(1e6, 1e9, 1e4, 1e12))
    return {**x, "q_position": x["k_position"].clone()}, [SQUARED], False


def coincident() -> Scene:
    x = tokens_of(80, 90, slopes(1000, 30, 1e5, 0))
    x["k_position"][20:60] = x["k_position"][0]
    x["q_position"][:60] = x["k_position"][0]
    return x, [DISTANCE], False


def outliers() -> Scene:
    x = tokens_of(84, 90, slopes(20, 5, 1e-6, 60))
    x["k_position"][[0, 47]] = torch.tensor([1e4, -1e4, 3e3])
    x["q_position"][[5, 83]] = torch.tensor([-1e4, 1e4, 3e3])
    return x, [SQUARED], False


def segments() -> Scene:
    x = tokens_of(90, 106, slopes(20, 5, 200, 60))
    x |= {"q_offsets": offsets(0, 40, 5, 0, 45), "k_offsets": offsets(3, 52, 0, 1, 50)}
    return x, [SQUARED], False


def nowhere() -> Scene:
    x = tokens_of(90, 90, slopes(50, 5, 200, 60))
    gate = torch.rand(90, HEADS, generator=torch.Generator().manual_seed(3))
    gate[30:34] = gate[::40] = 0
    x["q_position"][30:34] = torch.nan
    return {**x, "q_gate": gate}, [SQUARED], False


def causal() -> Scene:
    x = tokens_of(90, 99, slopes(20, 5, 200, 60))
    x |= {"q_offsets": offsets(50, 40), "k_offsets": offsets(57, 42)}
    return x, [SQUARED], True


def padded() -> Scene:
    x = tokens_of(84, 90, slopes(20, 5, 200, 60))
    mask = torch.rand(90, generator=torch.Generator().manual_seed(4)) < 0.6
    mask[32:64] = False
    x["k"][~mask] = x["k_position"][~mask] = torch.nan
    return {**x, "k_mask": mask}, [SQUARED], False


def padded_causal() -> Scene:
    x, terms, _ = padded()
    return {**x, "q_offsets": offsets(36, 48), "k_offsets": offsets(42, 48)}, terms, True


def directions() -> Scene:
    parameters = 8 * numbers(HEADS, 4, seed=5)
    parameters[:, 0] = torch.tensor([30.0, 60, 0, 90])
    return tokens_of(84, 90, parameters), [SQUARED, DIRECTION], False


def mixtures() -> Scene:
    parameters = numbers(HEADS, 10, seed=6)
    parameters[:, 0] = torch.tensor([50.0, 100, 20, 200])
    parameters[:, [1, 8, 9]] = parameters[:, [1, 8, 9]].exp()
    return tokens_of(84, 90, parameters), [SQUARED, POWERS, BASIS], False


def growing_gaussians() -> Scene:
    parameters = numbers(HEADS, 4, seed=6)
    parameters[:, 0], parameters[:, 1] = 60, -0.05
    return tokens_of(64, 64, parameters), [SQUARED, POWERS], False


def parameters_of_rows() -> Scene:
    parameters = numbers(84, HEADS, 7, seed=7)
    parameters[..., 0] = 200 + 20 * parameters[..., 0]
    x = tokens_of(84, 90, parameters, k_normal=numbers(90, 3, seed=8))
    return x, [DISTANCE, DIRECTION, NORMAL], False


def places_of_heads() -> Scene:
    x = tokens_of(84, 90, slopes(20, 5, 200, 60))
    shifts = numbers(HEADS, 3, seed=9)
    return {**x, "q_position": x["q_position"][:, None] + shifts}, [SQUARED], False


def tables() -> Scene:
    x = tokens_of(84, 90, slopes(20, 5, 200, 60), bias_tables=3 * numbers(HEADS, 24, seed=10))
    return x, [SQUARED, KNOTS, STEPS], False


def gated_tables() -> Scene:
    x, terms, _ = tables()
    gate = 1 + numbers(84, HEADS, seed=11).tanh() / 2
    gate[20:30] = 0
    return {**x, "q_gate": gate}, terms, False


SCENES = (
    of_squares, linear, slopes_that_do_not_decay, huge_slopes, coincident, outliers, segments,
    nowhere, causal, padded, padded_causal, directions, mixtures, growing_gaussians,
    parameters_of_rows, places_of_heads, tables, gated_tables,
)  # fmt: skip


def prepared(scene: Scene, dtype: torch.dtype, eps: float) -> tuple[Tokens, Options]:
    x, terms, is_causal = scene
    empty = dict.fromkeys(Tokens._fields)
    x = {**empty, **{name: value.to(DEVICE).contiguous() for name, value in x.items()}}
    tokens = Tokens(**{**x, **{name: x[name].to(dtype) for name in "qkv"}})
    counts = [COLUMNS[term] for term in terms]
    softness = 1e-3 if {DISTANCE, BASIS, KNOTS} & {*terms} else 0.0
    places = {"maximum": 4.0, "cell": 0.5}
    return tokens, Options(terms, counts, softness, is_causal, 0.25, 0.0, **places, skip_eps=eps)


def probabilities(tokens: Tokens, options: Options) -> tuple[Tensor, Tensor]:
    """Return ``[Lq, H, Lk]`` of the reference in float64, and the lse."""
    keys = tokens.k.shape[0]
    wide = Tokens(*(x.double() if x is not None and x.is_floating_point() else x for x in tokens))
    identity = torch.eye(keys, dtype=torch.float64, device=DEVICE)[:, None]
    q = torch.nn.functional.pad(wide.q, (0, keys - DIM))
    k = torch.nn.functional.pad(wide.k, (0, keys - DIM))
    wide = wide._replace(q=q, k=k, v=identity.expand(-1, KEY_HEADS, -1))
    results = reference(wide, options, False)
    return results.out, results.lse


def bounds_of(offsets: Tensor | None, length: int) -> list[tuple[int, int]]:
    edges = [0, length] if offsets is None else offsets.tolist()
    return list(pairwise(edges))


def listed(kept: Kept, slot: int, head: int) -> list[int]:
    found = kept.lists[slot, head, : int(kept.counts[slot, head])].tolist()
    assert found == sorted(set(found))
    return found


def visited_by_queries(kept: Kept, tokens: Tokens, is_causal: bool) -> Tensor:
    """Return ``[Lq, H, Lk]``, the pairs that the lists of tiles of queries leave in."""
    rows, keys = tokens.q.shape[0], tokens.k.shape[0]
    visited = torch.ones(rows, HEADS, keys, dtype=torch.bool)
    sides = zip(bounds_of(tokens.q_offsets, rows), bounds_of(tokens.k_offsets, keys), strict=True)
    for segment, ((q_begin, q_end), (k_begin, k_end)) in enumerate(sides):
        for first in range(q_begin, q_end, BLOCK):
            slot = q_begin // BLOCK + segment + (first - q_begin) // BLOCK
            last = min(first + BLOCK, q_end) - 1
            clear = k_end - k_begin
            if is_causal:
                row = first if tokens.k_mask is None else last
                clear = min(max(clear - (q_end - 1 - row), 0), clear)
            count = clear // BLOCK if tokens.k_mask is None else -(-clear // BLOCK)
            for head in range(HEADS):
                for tile in set(range(count)) - set(listed(kept, slot, head)):
                    begin = k_begin + tile * BLOCK
                    visited[first : last + 1, head, begin : min(begin + BLOCK, k_end)] = False
    return visited


def visited_by_keys(kept: Kept, tokens: Tokens, is_causal: bool) -> Tensor:
    """Return the same of the lists of tiles of keys."""
    rows, keys = tokens.q.shape[0], tokens.k.shape[0]
    visited = torch.ones(rows, HEADS, keys, dtype=torch.bool)
    sides = zip(bounds_of(tokens.q_offsets, rows), bounds_of(tokens.k_offsets, keys), strict=True)
    for segment, ((q_begin, q_end), (k_begin, k_end)) in enumerate(sides):
        for first in range(k_begin, k_end, BLOCK):
            slot = k_begin // BLOCK + segment + (first - k_begin) // BLOCK
            last = min(first + BLOCK, k_end) - 1
            clear = q_begin
            if is_causal:
                seen_from = max(q_begin, first - k_end + q_end)
                clear = last - k_end + q_end
                clear = seen_from + -(-max(clear - seen_from, 0) // BLOCK) * BLOCK
                clear = min(clear, q_end)
            for head in range(HEADS):
                tiles = set(range((q_end - clear) // BLOCK))
                for tile in tiles - set(listed(kept, slot, head)):
                    begin = clear + tile * BLOCK
                    visited[begin : begin + BLOCK, head, first : last + 1] = False
    return visited


CASES = [
    pytest.param(
        scene, dtype, id=f"{scene.__name__}-{dtype}", marks=() if fast else pytest.mark.slow
    )
    for scene in SCENES
    for dtype in (torch.float32, torch.bfloat16)
    for fast in [scene is segments and dtype == torch.bfloat16]
]


@pytest.mark.parametrize(("scene", "dtype"), CASES)
def test_what_is_skipped_of_a_row_sums_to_at_most_eps(
    scene: Callable[[], Scene], dtype: torch.dtype
) -> None:
    tokens, options = prepared(scene(), dtype, 0.0)
    probability, lse = probabilities(tokens, options)
    probability = probability.cpu()
    lse = lse.float()
    masked = tokens.k_mask is not None
    # Masked keys are taken in half tiles.
    query_blocks = {**BLOCKS, "BLOCK_K": 2 * BLOCK} if masked else BLOCKS
    shares = []
    for eps in (0.0, 0.01):
        tokens, options = prepared(scene(), dtype, eps)
        sizes, problem = launch.describe(tokens, options)
        channels = launch.channels_of(tokens, sizes, problem, moments=False)
        skipping = skipping_of(tokens, channels, sizes, problem, options)
        forward = kept_keys(skipping, None, query_blocks)
        backward = kept_keys(skipping, lse, query_blocks)
        transposed = kept_queries(skipping, lse, BLOCKS)
        for visited in (
            visited_by_queries(forward, tokens, options.causal),
            visited_by_queries(backward, tokens, options.causal),
            visited_by_keys(transposed, tokens, options.causal),
        ):
            skipped = torch.where(visited, 0, probability).sum(-1)
            assert skipped.max() <= (eps if eps > 0 else UNDERFLOW)
            shares.append(visited.double().mean().item())
    if scene not in (slopes_that_do_not_decay, growing_gaussians, padded_causal, outliers):
        # Under a causal mask half of the pairs are in no list.
        most = 0.99 if options.causal else 0.95
        assert shares[3] < most, "forward"
        assert shares[4] < most, "backward"
        assert shares[5] < most, "backward of keys"


@pytest.mark.slow
def test_heads_whose_bias_does_not_decay_are_dense_beside_those_whose_does() -> None:
    tokens, options = prepared(slopes_that_do_not_decay(), torch.float32, 1e-4)
    sizes, problem = launch.describe(tokens, options)
    channels = launch.channels_of(tokens, sizes, problem, moments=False)
    kept = kept_keys(skipping_of(tokens, channels, sizes, problem, options), None, BLOCKS)
    visited = visited_by_queries(kept, tokens, False)
    assert visited[:, 0].all()
    assert visited[:, 2].double().mean() < 0.8


def narrow_tiles(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make the kernels take tiles of 16, and return where shares of visited tiles will be."""
    monkeypatch.setattr(launch, "block_sizes", lambda *_: BLOCKS)
    shares: list[float] = []
    for name in ("kept_keys", "kept_queries"):
        make = getattr(launch, name)

        def watched(skipping: Any, *arguments: Any, make: Any = make) -> Kept:
            kept = make(skipping, *arguments)
            if skipping is not None:
                shares.append((kept.counts[:-1].double().mean() / (kept.lists.shape[0] - 1)).item())
            return kept

        monkeypatch.setattr(launch, name, watched)
    return shares


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scene", [of_squares, nowhere, padded], ids=lambda scene: scene.__name__)
def test_skipping_with_eps_0_changes_no_bit_forward_or_backward(
    scene: Callable[[], Scene], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, _, _ = scene()
    x = {name: value[:80].clone() if len(value) > 50 else value for name, value in x.items()}
    x = {name: value.to(DEVICE) for name, value in x.items()}
    x |= {name: x[name].to(dtype) for name in "qkv"}
    x["bias_parameters"] *= 10
    x = {**x, "bias": BiasSpec(SquaredDistance()), "return_lse": True, "return_position_mean": True}
    if scene is padded:
        x["v"][~x["k_mask"]] = torch.nan
    shares = narrow_tiles(monkeypatch)
    dense = run_on(SPEC, "triton", x)
    assert not shares
    skipped = run_on(SPEC, "triton", {**x, "skip_eps": 0.0})
    assert min(shares) < 0.95
    for one, two in zip(dense[0], skipped[0], strict=True):
        assert torch.equal(one, two)
    for name, gradient in dense[1].items():
        assert torch.equal(gradient, skipped[1][name]), name


def test_nothing_is_launched_without_skip_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a list was made")

    for kernel in ("list_keys_kernel", "summarize_keys_kernel"):
        monkeypatch.setattr(
            f"g2vlm_fast.kernels.triton.geometry_attention_skip_launch.{kernel}", refuse
        )
    x, _, _ = of_squares()
    x = {name: value[:32].to(DEVICE) if len(value) > 50 else value for name, value in x.items()}
    x["bias_parameters"] = x["bias_parameters"].to(DEVICE)
    geometry_attention(**x, bias=BiasSpec(SquaredDistance()))


@pytest.mark.slow
def test_leaves_of_a_room_leave_most_tiles_out() -> None:
    position = room_surfaces(torch.Generator().manual_seed(0), 1024).float()
    position = AnchorContext.from_positions(position).permute(position)
    x = tokens_of(1024, 1024, slopes(20, 50, 100, 200))
    x |= {"q_position": position, "k_position": position.clone()}
    x |= {"q": x["q"] / 4, "k": x["k"] / 4}
    tokens, options = prepared((x, [SQUARED], False), torch.bfloat16, 1e-4)
    sizes, problem = launch.describe(tokens, options)
    channels = launch.channels_of(tokens, sizes, problem, moments=False)
    skipping = skipping_of(tokens, channels, sizes, problem, options)
    kept = kept_keys(skipping, None, {**BLOCKS, "BLOCK_Q": 64, "BLOCK_K": 64})
    share = kept.counts[:16].double().mean(0) / 16
    assert share[0] < 0.55
    assert share[3] < 0.5
