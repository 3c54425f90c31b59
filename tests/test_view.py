"""Scenes in the browser, looked at through a headless one."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("viser", reason="the viewer needs the extra `app`")

from g2vlm_fast.data import RoomConfig, Scene, generate_room, queries
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.view import serve_scene

_PATIENCE = 60  # seconds


@pytest.fixture(scope="module")
def room() -> Scene:
    return generate_room(5, RoomConfig(image_size=(96, 128), views=(2, 2), depth_probability=1.0))


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(room: Scene, port: int) -> Iterator[Any]:
    server = serve_scene(room, queries(room, 0), port=port)
    yield server
    server.stop()


@pytest.fixture
def browser(server: Any, port: int, tmp_path: Path) -> Iterator[Any]:
    """What the server knows of a browser that looks at it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium")
    switches = (
        "headless=new", "no-sandbox", "disable-gpu", "use-angle=swiftshader",
        "enable-unsafe-swiftshader", "disable-quic", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "window-size=800,600",
        f"user-data-dir={tmp_path}",
    )  # fmt: skip
    command = [program, *(f"--{switch}" for switch in switches), f"http://127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not server.get_clients() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield next(iter(server.get_clients().values()))
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _looked_at(client: Any, scene: Scene) -> Any:
    """What the browser draws from the first camera of the scene, in [0, 255]."""
    from scipy.spatial.transform import Rotation

    pose = scene.poses[0].double().numpy()
    turn = Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)
    return client.get_render(
        96, 128, wxyz=turn, position=pose[:3, 3] + 0.3 * pose[:3, 2], fov=1.2,
        transport_format="png", timeout=_PATIENCE,
    )[..., :3].astype(float)  # fmt: skip


@pytest.mark.slow
def test_a_browser_draws_the_cloud(server: Any, browser: Any, room: Scene) -> None:
    deadline = time.monotonic() + _PATIENCE
    while _looked_at(browser, room).std() < 10 and time.monotonic() < deadline:
        time.sleep(0.5)  # the browser has not loaded everything yet
    picture = _looked_at(browser, room)
    assert picture.std() > 10
    expected = room.images[0].float().mean().item()
    assert abs(picture.mean() - expected) < 0.35 * expected


def test_a_port_that_is_taken_gives_way_to_another(room: Scene, server: Any, port: int) -> None:
    other = serve_scene(room, port=port)
    try:
        assert other.get_port() != port
    finally:
        other.stop()


@pytest.mark.parametrize(
    ("address", "told"), [({"port": 70000}, "--port"), ({"host": "203.0.113.7"}, "--host")]
)
def test_an_address_that_cannot_be_is_refused(
    room: Scene, address: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        serve_scene(room, **address)


def test_without_viser_the_remedy_is_named(room: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ConfigError, match=r"pip install 'g2vlm-fast\[app\]'"):
        serve_scene(room, [])
