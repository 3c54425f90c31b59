"""Relative positions that need no scores in memory, in modules of Point Transformer V3."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from serialized_points import Point, SerializedAttention, draw_point
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from g2vlm_fast.integrations.point_transformer_v3 import patch, unpatch
from g2vlm_fast.ops import use_backend

CHANNELS, PATCH = 8, 6  # whose tables reach 5 cells either way, far less than the grid
SCENES = {
    "one patch": [6],
    "full patches": [12, 6],
    "a short last patch": [16],
    "several scenes": [13, 7, 24],
    "a small scene": [3, 20],
}


def draw(num_heads: int = 2, *, enable_rpe: bool = True, **options: Any) -> SerializedAttention:
    torch.manual_seed(0)
    options["enable_rpe"] = enable_rpe
    return SerializedAttention(CHANNELS, num_heads, PATCH, **options).double()


def run(model: nn.Module, counts: list[int]) -> list[Tensor]:
    """Return the output and the gradients of the points and of all parameters."""
    model.zero_grad()
    point = draw_point(counts, CHANNELS)
    feat = point.feat.requires_grad_()
    out = model(point).feat
    out.square().sum().backward()
    return [out.detach(), feat.grad, *(x.grad for x in model.parameters() if x.grad is not None)]


def attend(model: nn.Module, counts: list[int] = SCENES["several scenes"]) -> Tensor:
    return model(draw_point(counts, CHANNELS)).feat.detach()


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for each, other in zip(found, expected, strict=True):
        torch.testing.assert_close(each, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("counts", SCENES.values(), ids=SCENES)
@pytest.mark.parametrize("enable_flash", [False, True])
def test_a_table_of_its_own_gives_what_it_gave(
    counts: list[int], enable_flash: bool, backend: str
) -> None:
    model = draw(enable_flash=enable_flash)
    expected = run(model, counts)
    with patch(model), use_backend(backend, "geometry_attention"):
        found = run(model, counts)
    assert len(found) == 2 + 5  # qkv, proj, and the table
    assert_same(found, expected)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    patch_size=st.integers(1, 9),
    num_heads=st.sampled_from([1, 2, 4, 8]),
    enable_flash=st.booleans(),
)
def test_any_cut_into_patches_gives_what_it_gave(
    counts: list[int], patch_size: int, num_heads: int, enable_flash: bool
) -> None:
    torch.manual_seed(0)
    options = {"enable_rpe": True, "enable_flash": enable_flash, "order_index": 1}
    model = SerializedAttention(CHANNELS, num_heads, patch_size, **options).double()
    expected = run(model, counts)
    patch(model)
    assert_same(run(model, counts), expected)


@pytest.mark.parametrize("order_index", [0, 1])
@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_every_order_and_head_has_its_own(num_heads: int, order_index: int) -> None:
    model = draw(num_heads, order_index=order_index, scale=0.3)
    expected = run(model, SCENES["several scenes"])
    patch(model)
    assert_same(run(model, SCENES["several scenes"]), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_whole_cells_of_any_width_are_exact_anywhere(dtype: torch.dtype) -> None:
    model = draw()
    expected = attend(model)
    patch(model)
    point = draw_point(SCENES["several scenes"], CHANNELS)
    far = {torch.int16: 30_000, torch.int32: 2**31 - 40, torch.int64: 2**48}
    point.grid_coord = point.grid_coord.to(dtype) + far.get(dtype, 200)
    torch.testing.assert_close(model(point).feat.detach(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("enable_flash", [False, True])
def test_a_new_table_starts_as_nothing_and_learns(enable_flash: bool) -> None:
    model = draw(enable_rpe=False, enable_flash=enable_flash)
    expected = run(model, SCENES["several scenes"])
    tables = patch(model)
    *found, of_table = run(model, SCENES["several scenes"])
    assert_same(found, expected)
    assert of_table.shape == tables.biases["0"].parameters_per_head.shape == (2, 3 * 11)
    assert (of_table.flatten().abs() > 1e-6).float().mean() > 0.9
    assert len(list(tables.parameters())) == 1


def test_a_new_table_becomes_a_published_one_by_a_flip() -> None:
    """What docs/geometry_attention.md tells those who hold a trained table."""
    published, model = draw(), draw(enable_rpe=False)
    state = published.state_dict()
    table = state.pop("rpe.rpe_table")
    model.load_state_dict(state)
    bias = patch(model).biases["0"]
    with torch.no_grad():
        bias.parameters_per_head.copy_(table.T.unflatten(1, (3, -1)).flip(-1).flatten(1))
    torch.testing.assert_close(attend(model), attend(published), rtol=1e-9, atol=1e-10)


def test_the_state_of_a_module_with_a_table_stays_as_it_was() -> None:
    model = draw()
    names, parameters = list(model.state_dict()), [id(x) for x in model.parameters()]
    tables = patch(model)
    assert list(model.state_dict()) == names
    assert [id(x) for x in model.parameters()] == parameters
    assert not tables.state_dict()


def test_training_the_patched_module_trains_the_original() -> None:
    model, plain = draw(), draw()
    with patch(model):
        for each in (model, plain):
            steps = torch.optim.SGD(each.parameters(), lr=1e-3)
            for _ in range(3):
                run(each, SCENES["several scenes"])
                steps.step()
    assert_same(list(model.parameters()), list(plain.parameters()))
    assert (model.rpe.rpe_table - draw().rpe.rpe_table).abs().max() > 1e-3


def test_unpatching_gives_the_module_back() -> None:
    model = nn.Sequential(draw(), draw(enable_rpe=False, enable_flash=True))
    state, classes = list(model.state_dict()), [type(module) for module in model]
    with patch(model) as tables:
        assert isinstance(model[0], SerializedAttention)
        assert [type(module) for module in model] != classes
        nn.init.ones_(tables.biases["1"].parameters_per_head)
    assert [type(module) for module in model] == classes
    assert list(model.state_dict()) == state
    assert (tables.state_dict()["biases.1.parameters_per_head"] == 1).all()
    tables.unpatch()
    tables = patch(model)
    unpatch(model)
    tables.unpatch()
    assert [type(module) for module in model] == classes


def test_new_tables_are_saved_and_loaded_alone() -> None:
    model, again = (nn.Sequential(draw(enable_rpe=False), draw()) for _ in range(2))
    tables = patch(model)
    nn.init.normal_(tables.biases["0"].parameters_per_head)
    state = tables.state_dict()
    assert list(state) == ["biases.0.parameters_per_head"]
    patch(again).load_state_dict(state)
    assert torch.equal(attend(again), attend(model))
    assert "0.geometry_bias.parameters_per_head" in model.state_dict()


def test_the_report_says_what_was_done_and_why_not() -> None:
    rotary = draw()
    rotary.rope = nn.Identity()
    model = nn.ModuleDict({"enc": draw(), "dec": draw(enable_rpe=False), "rotary": rotary})
    tables = patch(model)
    assert tables.patched["enc"] == "the table of its own"
    assert "reach=5" in tables.patched["dec"]
    assert list(tables.left) == ["rotary"]
    assert "rope" in tables.left["rotary"]
    assert "rotary: left as it was, what rope adds" in repr(tables)
    assert type(rotary) is SerializedAttention


def test_layers_are_chosen_by_number() -> None:
    model = nn.Sequential(*(draw(enable_rpe=False) for _ in range(3)))
    tables = patch(model, layers=[2])
    assert list(tables.patched) == list(tables.biases) == ["2"]
    assert tables.left == {"0": "not among layers", "1": "not among layers"}
    with pytest.raises(ValueError, match="from 0 to 2, got"):
        patch(nn.Sequential(*(draw() for _ in range(3))), layers=[3])


@pytest.mark.parametrize("enable_rpe", [False, True])
def test_copies_and_pickles_stay_patched(enable_rpe: bool) -> None:
    model = draw(enable_rpe=enable_rpe)
    tables = patch(model)
    for bias in tables.parameters():
        nn.init.normal_(bias)
    expected = attend(model)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    tables.unpatch()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    for each in copies:
        assert type(each).__name__ == "GeometrySerializedAttention"
        assert torch.equal(attend(each), expected)
        unpatch(each)
        assert type(each) is SerializedAttention
        assert list(each.state_dict()) == list(draw(enable_rpe=enable_rpe).state_dict())


@pytest.mark.parametrize("enable_flash", [False, True])
def test_dropout_is_that_of_the_module_and_in_training_alone(enable_flash: bool) -> None:
    """All weights are equal and all values 1, so that outputs count the keys that were kept."""
    model = draw(attn_drop=0.25, enable_flash=enable_flash, enable_rpe=False)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(model.qkv.bias[2 * CHANNELS :])
    nn.init.eye_(model.proj.weight)
    patch(model)
    scene = [100 * PATCH]
    assert torch.equal(attend(model.eval(), scene), torch.ones(scene[0], CHANNELS).double())
    torch.manual_seed(0)
    out = attend(model.train(), scene)
    kept = out * PATCH * (1 - 0.25)
    torch.testing.assert_close(kept, kept.round())
    assert abs(kept.mean() - 0.75 * PATCH) < 0.15
    assert not torch.equal(attend(model, scene), out)
    torch.manual_seed(0)
    assert torch.equal(attend(model, scene), out)


@pytest.mark.parametrize("enable_rpe", [False, True])
def test_half_precision_leaves_positions_whole(enable_rpe: bool) -> None:
    model = draw(enable_rpe=enable_rpe)
    bias = patch(model).biases
    for each in bias.parameters():
        nn.init.normal_(each)
    exact = attend(model)
    point = draw_point(SCENES["several scenes"], CHANNELS)
    point.grid_coord = point.grid_coord + 1000  # where bfloat16 counts by eights
    point.feat = point.feat.bfloat16()
    found = model.bfloat16()(point).feat
    assert found.dtype == torch.bfloat16
    assert (found.double() - exact).abs().max() < 0.05
    assert all(x.dtype == torch.float64 for x in bias.parameters())
    point.feat = draw_point(SCENES["several scenes"], CHANNELS).feat.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (model.float()(point).feat.double() - exact).abs().max() < 0.05


def test_checkpointing_of_activations_changes_no_gradient() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = draw(attn_drop=0.3)

        def forward(self, point: Point) -> Point:
            def attended(feat: Tensor) -> Tensor:
                return self.attention(Point(point, feat=feat)).feat

            return Point(feat=checkpoint(attended, point.feat, use_reentrant=False))

    model = Checkpointed()
    patch(model)
    torch.manual_seed(1)
    expected = run(model.attention, SCENES["several scenes"])
    torch.manual_seed(1)
    assert_same(run(model, SCENES["several scenes"]), expected)


@pytest.mark.slow
def test_triton_agrees_with_the_cpu() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    model = draw().float()
    patch(model)
    found = []
    for backend in ("cpu", "triton"):
        point = draw_point([13, 7], CHANNELS, dtype=torch.float32)
        feat = point.feat.requires_grad_()
        model.zero_grad()
        with use_backend(backend, "geometry_attention"):
            out = model(point).feat
            out.square().sum().backward()
        found.append([out.detach(), feat.grad, model.rpe.rpe_table.grad.clone()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
