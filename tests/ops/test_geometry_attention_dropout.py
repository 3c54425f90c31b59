"""Dropout of attention: which pairs fall out, and that nothing but the seed decides it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops import BiasSpec, Distance, geometry_attention
from g2vlm_fast.ops.reference.philox import philox, seed_words

HEADS = 2
OnBackend = Callable[[], AbstractContextManager[None]]


def words(*numbers: int) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(number) for number in numbers)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Known-answer vectors that the authors of Random123 publish for Philox-4x32-10."""
    found = philox(words(*counter), words(*key))  # type: ignore[arg-type]
    assert tuple(word.item() for word in found) == expected


def test_seeds_of_both_signs_make_two_words() -> None:
    assert [word.tolist() for word in seed_words(torch.tensor([-2]))] == [[0xFFFFFFFE], [2**32 - 1]]
    assert [word.tolist() for word in seed_words(torch.tensor([3 << 32 | 7]))] == [[7], [3]]


def draw(queries: int, keys: int, dim: int = 8) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "q": (queries, HEADS, dim),
        "k": (keys, HEADS, dim),
        "v": (keys, HEADS, dim),
        "bias_parameters": (HEADS, 1),
        "q_position": (queries, 3),
        "k_position": (keys, 3),
    }
    drawn = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    return {**drawn, "bias": BiasSpec(Distance())}


def kept(queries: int, keys: int, dropout: float, seed: int, **options: Any) -> Tensor:
    """Return which pairs ``[H, Lq, Lk]`` are kept, from the output of even attention."""
    q = torch.zeros(queries, HEADS, keys)
    identity = torch.eye(keys)[:, None].expand(keys, HEADS, keys).contiguous()
    out = geometry_attention(
        q, q.new_zeros(keys, HEADS, keys), identity,
        dropout=dropout, dropout_seed=torch.tensor([seed]), **options,
    )  # fmt: skip
    return (out > 0).transpose(0, 1)


def expected_mask(queries: int, keys: int, dropout: float, seed: int) -> Tensor:
    """The definition, pair by pair: word 0 of counter (key, query, head, 0), 24 bits of it."""
    mask = torch.empty(HEADS, queries, keys, dtype=torch.bool)
    key = seed_words(torch.tensor([seed]))
    for h in range(HEADS):
        for i in range(queries):
            for j in range(keys):
                word = philox(words(j, i, h, 0), key)[0].item()  # type: ignore[arg-type]
                mask[h, i, j] = (word >> 8) / 2**24 >= dropout
    return mask


@pytest.mark.parametrize("seed", [0, -1, 2**40 + 3])
def test_the_seed_and_the_pair_alone_decide(on_backend: OnBackend, seed: int) -> None:
    expected = expected_mask(7, 18, 0.4, seed)
    with on_backend():
        assert torch.equal(kept(7, 18, 0.4, seed), expected)
        segments = {
            "q_offsets": torch.tensor([0, 3, 7], dtype=torch.int32),
            "k_offsets": torch.tensor([0, 11, 18], dtype=torch.int32),
        }
        packed = kept(7, 18, 0.4, seed, **segments)
    assert torch.equal(packed[:, :3, :11], expected[:, :3, :11])
    assert torch.equal(packed[:, 3:, 11:], expected[:, 3:, 11:])


def test_rows_far_down_the_packed_tensors_count_from_its_start(on_backend: OnBackend) -> None:
    expected = expected_mask(45, 70, 0.5, 9)[:, 40:, 33:]
    with on_backend():
        segments = {
            "q_offsets": torch.tensor([0, 40, 45], dtype=torch.int32),
            "k_offsets": torch.tensor([0, 33, 70], dtype=torch.int32),
        }
        assert torch.equal(kept(45, 70, 0.5, 9, **segments)[:, 40:, 33:], expected)


def test_the_share_that_falls_out_is_dropout_in_every_head_row_and_column() -> None:
    mask = kept(400, 250, 0.25, 12345).double()
    assert abs(mask.mean().item() - 0.75) < 4 * (0.1875 / mask.numel()) ** 0.5
    for axes, count in (((1, 2), 100000), ((0, 2), 500), ((0, 1), 800)):
        deviation = (mask.mean(axes) - 0.75).abs() / (0.1875 / count) ** 0.5
        assert deviation.max() < 5, axes
    one, other = mask.flatten(1) - 0.75
    assert abs((one * other).mean().item()) < 4 * 0.1875 / 100000**0.5  # heads are independent
    later = kept(400, 250, 0.25, 12346).double() - 0.75
    assert abs(((mask - 0.75) * later).mean().item()) < 4 * 0.1875 / 200000**0.5


def test_what_is_kept_is_scaled_and_the_statistics_know_nothing_of_it(
    on_backend: OnBackend,
) -> None:
    x, seed = draw(6, 20), torch.tensor([4])
    statistics = {"return_lse": True, "return_position_mean": True}
    with on_backend():
        whole = geometry_attention(**x, **statistics)
        dropped = geometry_attention(**x, dropout=0.5, dropout_seed=seed, **statistics)
    for name in ("lse", "position_mean", "position_spread"):
        assert torch.equal(getattr(dropped, name), getattr(whole, name)), name
    r = (x["k_position"][None] - x["q_position"][:, None]).square().sum(-1).add(1e-6).sqrt()
    scores = torch.einsum("ihd,jhd->hij", x["q"], x["k"]) / 8**0.5
    probability = (scores - x["bias_parameters"][:, :, None] * r).softmax(-1)
    probability = probability * expected_mask(6, 20, 0.5, 4) / 0.5
    expected = torch.einsum("hij,jhd->ihd", probability, x["v"])
    torch.testing.assert_close(dropped.out, expected, rtol=1e-4, atol=1e-5)


def test_no_dropout_is_no_dropout_whatever_the_seed(on_backend: OnBackend) -> None:
    x = draw(5, 9)
    with on_backend():
        plain = geometry_attention(**x)
        assert torch.equal(geometry_attention(**x, dropout_seed=torch.tensor([1])), plain)
        assert torch.equal(geometry_attention(**x, dropout=0), plain)


def test_without_a_seed_the_generator_of_torch_draws_one() -> None:
    x = draw(5, 40)
    torch.manual_seed(3)
    first, second = (geometry_attention(**x, dropout=0.5) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(geometry_attention(**x, dropout=0.5), first)
    assert not torch.equal(first, second)


def test_forward_and_backward_drop_the_same_pairs() -> None:
    """Values that a row drops get nothing of its gradient."""
    x = draw(4, 30)
    x["v"].requires_grad_()
    out = geometry_attention(**x, dropout=0.6, dropout_seed=torch.tensor([8]))
    mask = expected_mask(4, 30, 0.6, 8)
    for i in range(4):
        (grad,) = torch.autograd.grad(out[i].sum(), x["v"], retain_graph=True)
        assert torch.equal((grad != 0).all(-1).T, mask[:, i])


def test_compiles_as_one_graph_with_a_seed_drawn_inside() -> None:
    torch._dynamo.reset()
    x = draw(5, 40)

    def attend() -> Tensor:
        return geometry_attention(**x, dropout=0.5)

    compiled = torch.compile(attend, fullgraph=True, backend="aot_eager")
    assert compiled().isfinite().all()
    assert not torch.equal(compiled(), compiled())
