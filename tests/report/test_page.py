"""The page stands alone, says what it is told, and carries its points unchanged."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import torch

from g2vlm_fast.export.scene_graph import SceneObject
from g2vlm_fast.report.cameras import VirtualCamera, overview_cameras
from g2vlm_fast.report.page import AnswerCard, Page, Section, Table, to_html
from g2vlm_fast.report.pictures import depth_in_colors, fit, object_color, sheet
from g2vlm_fast.report.viewer import viewer_data

_PICTURE = np.full((20, 30, 3), 128, dtype=np.uint8)


def _camera() -> VirtualCamera:
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    pose[:3, 3] = torch.tensor([0.0, -5.0, 0.0])
    return VirtualCamera(torch.eye(3), pose, (20, 30))


def _cloud(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    points = random.uniform(-1, 1, (count, 3)).astype(np.float32)
    normals = random.normal(size=(count, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return points, random.uniform(0, 1, (count, 3)).astype(np.float32), normals


def _page(text: str) -> Page:
    return Page(
        kicker="Recorded scan",
        title=text,
        lead=text,
        facts=[("Views", "3")],
        viewer=viewer_data(*_cloud(100), 10, [], _camera()),
        still=_PICTURE,
        warnings=(text,),
        sections=[
            Section(
                "Words",
                paragraphs=(text,),
                quote=text,
                points=(text,),
                cards=(AnswerCard(text, text, (text,), _PICTURE), AnswerCard(text, text)),
                pictures=((_PICTURE, text), (_PICTURE, text)),
                wide_pictures=((_PICTURE, text),),
                table=Table((text, "n"), [(text, "1")], (1,), [object_color(0)]),
                note=text,
            )
        ],
        footer=(text,),
    )


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attributes:
            if name in ("src", "href"):
                self.sources.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_needs_nothing_from_elsewhere() -> None:
    html = to_html(_page("A shelf"))
    outline = _Outline()
    outline.feed(html)
    assert outline.open == []
    assert outline.scripts == 2
    assert all(source.startswith("data:image/") for source in outline.sources)
    assert not re.search(r"https?://|url\(|@import", html)


def test_text_cannot_break_out_of_the_page() -> None:
    html = to_html(_page("<script>alert('x')</script> & \"quotes\""))
    outline = _Outline()
    outline.feed(html)
    assert outline.scripts == 2
    assert "<script>alert" not in html


def test_points_survive_packing() -> None:
    points, colors, normals = _cloud(4000)
    data = json.loads(viewer_data(points, colors, normals, 1000, [], _camera()))
    packed = base64.b64decode(data["points"])
    count = data["count"]
    assert len(packed) == count * 12
    quantised = np.frombuffer(packed, "<u2", count * 3).reshape(-1, 3)
    restored = np.array(data["low"]) + quantised / 65535 * np.array(data["extent"])
    kept = ((points >= data["low"]) & (points <= np.array(data["low"]) + data["extent"])).all(1)
    assert count == kept.sum()
    assert data["measured"] == kept[:3000].sum()
    assert abs(restored - points[kept]).max() < 1e-4
    shades = np.frombuffer(packed, np.uint8, count * 3, offset=count * 6).reshape(-1, 3)
    assert abs(shades / 255 - colors[kept]).max() <= 0.5 / 255 + 1e-6


def test_many_points_are_thinned() -> None:
    data = json.loads(viewer_data(*_cloud(200_000), 0, [], _camera()))
    assert 140_000 < data["count"] < 160_000


def test_boxes_reach_the_viewer() -> None:
    thing = SceneObject(
        3, "chair", 0.9, 0.9, np.zeros(3, np.float32), np.ones(3, np.float32),
        np.eye(3, dtype=np.float32), np.ones(2, np.float32),
    )  # fmt: skip
    boxes = json.loads(viewer_data(*_cloud(100), 0, [thing], _camera()))["boxes"]
    assert np.array(boxes[0]["corners"]).shape == (8, 3)
    assert boxes[0]["color"] == list(object_color(3))


def test_overview_sees_nearly_everything_from_above() -> None:
    points = torch.rand(5000, 3) * torch.tensor([6.0, 4.0, 2.5])
    poses = torch.eye(4)[None]
    poses[0, :3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # looks along +y
    from g2vlm_fast.geometry.cameras import project

    for camera in overview_cameras(points, poses, (300, 400), (-30.0, 0.0, 30.0)):
        pixels, depth = project(points, camera.intrinsics, camera.pose)
        inside = (depth > 0) & (pixels >= 0).all(-1) & (pixels < torch.tensor([400, 300])).all(-1)
        assert float(inside.float().mean()) > 0.9
        assert float(camera.pose[2, 3]) > 1.25
        assert float(camera.pose[1, 3]) < 2.0


def test_missing_depth_has_a_colour_of_its_own() -> None:
    picture = depth_in_colors(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), 1.0, 3.0)
    assert picture[0, 0].tolist() == [237, 237, 237]
    assert len({tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}) == 4


def test_sheet_holds_every_picture() -> None:
    page = sheet([[fit(_PICTURE, 15)] * 3, [fit(_PICTURE, 15)] * 2])
    assert page.shape == (2 * 10 + 6, 3 * 15 + 12, 3)
    assert (page[:10, :15] == 128).all()
    assert (page[-10:, -15:] == 255).all()
