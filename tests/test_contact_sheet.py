"""Contact sheets: every scene on one picture, whatever it lacks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="pictures need the extra `app`")

from g2vlm_fast.cli import BAD_INPUT, main
from g2vlm_fast.data import RoomConfig, Scene, generate_room, queries
from g2vlm_fast.data.language.visibility import least_pixels
from g2vlm_fast.pipeline.contact_sheet import contact_sheet
from g2vlm_fast.pipeline.known import known_of, seen_in
from g2vlm_fast.report.from_above import points_from_above
from g2vlm_fast.report.pictures import BACKGROUND, GAP, free_place


@pytest.fixture(scope="module")
def room() -> Scene:
    return generate_room(5, RoomConfig(image_size=(48, 64), views=(3, 3), depth_probability=1.0))


def test_a_sheet_shows_the_views_as_they_are(room: Scene) -> None:
    wide = dataclasses.replace(room, truth=None)
    shown = contact_sheet(wide)
    first = room.images[0].permute(1, 2, 0).float().mean().item()
    assert shown[:315, :420].mean() == pytest.approx(first, abs=2)


def test_boxes_are_drawn_of_what_a_view_shows(room: Scene) -> None:
    assert room.truth is not None
    known = known_of(room)
    for view in range(room.num_views):
        pixels = torch.bincount(room.truth.instance[view].flatten() + 1, minlength=20)[1:]
        shown = {thing.id for thing in seen_in(view, room, known.objects)}
        assert shown == set((pixels >= least_pixels((48, 64))).nonzero().flatten().tolist())
    drawn = sum(len(seen_in(view, room, known.objects)) for view in range(room.num_views))
    assert 0 < drawn < room.num_views * len(known.objects)


def test_what_a_scan_did_not_measure_is_not_drawn(room: Scene) -> None:
    scan = dataclasses.replace(room, truth=None)
    things = known_of(room).objects
    somewhere = dataclasses.replace(things[0], center=np.full(3, 50, dtype=np.float32))
    seen = [seen_in(view, scan, [*things, somewhere]) for view in range(scan.num_views)]
    assert any(seen)
    assert not any(thing is somewhere for shown in seen for thing in shown)
    blind = dataclasses.replace(scan, depth=None, depth_sigma=None)
    assert seen_in(0, blind, [*things, somewhere]) == [*things, somewhere]


@given(
    st.lists(st.tuples(st.floats(-300, 900), st.floats(-300, 900), st.floats(5, 90)), max_size=12)
)
def test_labels_stay_in_the_picture_and_apart_while_there_is_room(
    wanted: list[tuple[float, float, float]],
) -> None:
    size, height = (640, 480), 18.0
    taken: list[tuple[float, float, float, float]] = []
    for x, y, width in wanted:
        left, top = free_place(x, y, width, height, size, taken)
        assert 0 <= left <= size[0] - width
        assert 0 <= top <= size[1] - height
        for other in taken:  # twelve labels leave room for another in every column
            beside = left + width <= other[0] or other[2] <= left
            assert beside or top + height <= other[1] or other[3] <= top
        taken.append((left, top, left + width, top + height))


def test_texts_and_truth_make_a_sheet_longer(room: Scene) -> None:
    bare = dataclasses.replace(room, truth=None)
    texts = queries(room, 0) * 3
    heights = [len(contact_sheet(bare)), len(contact_sheet(room)), len(contact_sheet(room, texts))]
    assert heights == sorted(heights)
    assert len(set(heights)) == 3


def test_a_scene_without_depth_and_without_truth_has_a_sheet(room: Scene) -> None:
    colors = dataclasses.replace(room, truth=None, depth=None, depth_sigma=None)
    assert contact_sheet(colors).shape[1] == 3 * 420 + 2 * GAP
    nothing = dataclasses.replace(room, truth=None, depth=torch.zeros_like(room.depth))
    assert contact_sheet(nothing).dtype == np.uint8


def test_of_points_over_one_place_the_highest_below_the_ceiling_is_seen() -> None:
    points = np.array([[0.5, 0.5, 0.2], [0.5, 0.5, 1.0], [0.5, 0.5, 2.5]], dtype=np.float32)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)
    corners = np.zeros(2, dtype=np.float32), np.ones(2, dtype=np.float32)
    picture = points_from_above(points, colors, ceiling=2.0)(*corners)
    seen = picture.reshape(-1, 3).astype(int)
    assert seen[np.argmax(abs(seen - BACKGROUND * 255).sum(-1))].argmax() == 1
    assert not (seen[:, 2] > BACKGROUND[2] * 255 + 1).any()


def test_the_command_draws_a_room(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    arguments = ["7", "--out", str(out), "--image-size", "48", "64", "--program", "kitchen"]
    assert main(["data", "show", *arguments]) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "does not exist"),
        (["7", "--out", "sheet.jpeg"], "--out"),
        (["7", "--image-size", "2", "2"], "--image-size"),
        (["7", "--program", "stable"], "--program"),
    ],
)
def test_the_command_refuses_what_it_cannot_draw(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "show", *arguments]) == BAD_INPUT
    assert told in capsys.readouterr().err
