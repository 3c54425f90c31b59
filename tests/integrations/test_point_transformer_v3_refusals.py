"""What cannot have relative positions in Point Transformer V3: refused by name, and left whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from serialized_points import SerializedAttention, draw_point
from torch import nn

from g2vlm_fast.integrations.point_transformer_v3 import patch

CHANNELS, PATCH = 8, 6
COUNTS = [13, 7]


def draw(**options: Any) -> SerializedAttention:
    torch.manual_seed(0)
    return SerializedAttention(CHANNELS, 2, PATCH, **{"enable_rpe": True, **options}).double()


class WithPrompt(SerializedAttention):
    def forward(self, point: Any, prompt: Any) -> Any:
        return super().forward(point)


def replace(name: str, value: Any) -> Callable[[SerializedAttention], None]:
    return lambda module: setattr(module, name, value)


CHANGES = {
    "what rope adds": replace("rope", nn.Identity()),
    "what gamma adds": replace("gamma", nn.Parameter(torch.ones(1))),
    "what decay adds": lambda module: module.register_buffer("decay", torch.ones(1)),
    "its forward is replaced": replace("forward", lambda point: point),
    "forward takes more than a point": replace("__class__", WithPrompt),
    "softmax is Softmin": replace("softmax", nn.Softmin(dim=-1)),
    "softmax is Softmax(dim=1)": replace("softmax", nn.Softmax(dim=1)),
    "attn_drop is a AlphaDropout": replace("attn_drop", nn.AlphaDropout(0.1)),
    "scale is a Tensor": replace("scale", torch.ones(2)),
    "no attribute channels": lambda module: delattr(module, "channels"),
    "no attribute patch_size_max": lambda module: delattr(module, "patch_size_max"),
    "qkv has 16 outputs, not 3 * channels = 24": replace("qkv", nn.Linear(8, 16)),
    "enable_rpe is True and it has none": replace("rpe", None),
    "enable_rpe is False and it has a table": replace("enable_rpe", False),
    "rpe is not one rpe_table": replace("rpe", nn.Embedding(33, 2)),
    "rpe_table [33, 2] is not": lambda module: setattr(module.rpe, "pos_bnd", 4),
}


@pytest.mark.parametrize(("reason", "change"), CHANGES.items(), ids=CHANGES)
def test_what_is_not_as_published_is_left_and_named(
    reason: str, change: Callable[[SerializedAttention], None]
) -> None:
    changed, plain = draw(), draw()
    change(changed)
    kind, names = type(changed), list(changed.state_dict())
    tables = patch(nn.ModuleDict({"plain": plain, "changed": changed}))
    assert list(tables.patched) == ["plain"]
    assert reason in tables.left["changed"]
    assert type(changed) is kind
    assert list(changed.state_dict()) == names
    with pytest.raises(ValueError, match="cannot be patched: 1: ") as raised:
        patch(nn.Sequential(draw(), changed), layers=[0, 1])
    assert reason in str(raised.value)


def test_tables_wider_than_the_op_takes_are_left() -> None:
    wide = SerializedAttention(CHANNELS, 2, 8200)
    tables = patch(nn.Sequential(draw(), wide, SerializedAttention(CHANNELS, 2, 8192)))
    assert list(tables.patched) == ["0", "2"]
    assert "reach 64 cells either way, not from 1 to 63" in tables.left["1"]


def test_models_that_cannot_be_patched_are_refused() -> None:
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got dict"):
        patch({})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Linear has no serialized attention"):
        patch(nn.Linear(3, 3))
    model = nn.Sequential(draw())
    model[0].rope = nn.Identity()
    with pytest.raises(ValueError, match="cannot be patched: 0: what rope adds"):
        patch(model)
    with pytest.raises(ValueError, match=r"layers must be from 0 to 0, got \[1\]"):
        patch(model, layers=[1])


def test_a_refusal_leaves_every_module_as_it_was() -> None:
    model = nn.Sequential(draw(enable_rpe=False), draw())
    model[1].rope = nn.Identity()
    names = list(model.state_dict())
    with pytest.raises(ValueError, match="rope"):
        patch(model, layers=[0, 1])
    assert list(model.state_dict()) == names
    assert all(type(module) is SerializedAttention for module in model)


def test_a_model_is_patched_once() -> None:
    model = draw()
    with patch(model), pytest.raises(ValueError, match=r"patched already; unpatch\(model\) first"):
        patch(model)


def test_a_class_that_was_changed_since_is_not_given_back() -> None:
    model = nn.Sequential(draw(enable_rpe=False), draw())
    tables = patch(model)
    model[1].__class__ = type("Sharded", (type(model[1]),), {})
    with pytest.raises(RuntimeError, match="Sharded is no longer what patch made of it"):
        tables.unpatch()
    assert "0.geometry_bias.parameters_per_head" in model.state_dict()
    model[1].__class__ = type(model[1]).__bases__[0]
    tables.unpatch()
    assert all(type(module) is SerializedAttention for module in model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bool])
def test_coordinates_that_count_no_cells_are_refused(dtype: torch.dtype) -> None:
    model = draw()
    patch(model)
    point = draw_point(COUNTS, CHANNELS)
    point.grid_coord = point.grid_coord.to(dtype)
    with pytest.raises(TypeError, match=f"grid_coord must be of integers.*got {dtype}"):
        model(point)


@pytest.mark.parametrize("field", ["grid_coord", "offset", "serialized_order"])
def test_a_missing_field_is_named(field: str) -> None:
    model = draw()
    patch(model)
    point = draw_point(COUNTS, CHANNELS)
    del point[field]
    with pytest.raises(ValueError, match=f"SerializedAttention: the point lacks {field};"):
        model(point)


@pytest.mark.parametrize("shape", [(19, 3), (21, 3), (20, 2), (60,)])
def test_cells_of_other_points_are_refused(shape: tuple[int, ...]) -> None:
    model = draw()
    patch(model)
    point = draw_point(COUNTS, CHANNELS)
    point.grid_coord = torch.zeros(shape, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"grid_coord must be \[20, 3\], a row for each of feat"):
        model(point)


def test_an_empty_scene_is_refused_where_it_would_empty_all_patches() -> None:
    model = draw()
    patch(model)
    with pytest.raises(ValueError, match="a scene of 0 points"):
        model(draw_point([7, 0, 6], CHANNELS))
    model = draw(enable_flash=True)
    expected = model(draw_point([7, 0, 6], CHANNELS)).feat
    patch(model)
    torch.testing.assert_close(model(draw_point([7, 0, 6], CHANNELS)).feat, expected)
