"""A scene in the browser: cloud, boxes with labels, cameras, and what is said about it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.data import Query, Scene
from g2vlm_fast.export.scene_graph import SceneObject
from g2vlm_fast.geometry.boxes import box_corners
from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.known import Known, known_of, some_of
from g2vlm_fast.report.pictures import object_color

_MOST_POINTS = 400_000
_POINT_SIZE = 0.012  # metres
_FRUSTUM = 0.18  # metres
_LINE = 0.012  # metres
_SENTENCES = 200  # of what people wrote about a scan
_RAISED = np.array([0.0, 0.0, 0.8])  # metres above the first camera, to see it too
_MARKS = frozenset("\\`*_{}[]()<>#+-!|&~$.")  # what Markdown may read as its own
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]


def serve_scene(
    scene: Scene, texts: Sequence[Query] = (), *, host: str = "127.0.0.1", port: int = 8080
) -> Any:
    """Serve a scene to browsers, until the server is stopped.

    Args:
        scene: any scene; without depth no cloud is shown, and boxes are those of a room's truth
            or of a scan's annotations.
        texts: what is said and asked about it, listed with the answers.
        host: address to listen on; others than this machine's own let others look.
        port: port to listen on; where it is taken, the next free one.

    Returns:
        A ``viser.ViserServer``; its folders are ``/cloud``, ``/objects`` and ``/cameras``, and
        ``get_port()`` says where it listens.

    Raises:
        ConfigError: a port that does not exist, an address that is not this machine's, or viser is
            not installed.
    """
    _check_address(host, port)
    try:
        import viser
    except ModuleNotFoundError as missing:
        raise ConfigError(
            "the viewer needs viser, which is not installed; pip install 'g2vlm-fast[app]'"
        ) from missing
    server = viser.ViserServer(host=host, port=port, label=scene.name, verbose=False)
    try:
        _show(server, scene, texts)
    except BaseException:
        server.stop()
        raise
    return server


def _check_address(host: str, port: int) -> None:
    if not 0 < port < 65536:
        raise ConfigError(f"--port must be 1 to 65535, got {port}")
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError as error:
        raise ConfigError(f"--host {host} is no address of this machine: {error}") from error


def _show(server: Any, scene: Scene, texts: Sequence[Query]) -> None:
    known = known_of(scene)
    server.scene.set_up_direction("+z")
    shown = {
        "cloud": _add_cloud(server, scene),
        "objects": _add_objects(server, known.objects),
        "cameras": _add_cameras(server, scene),
    }
    for name, handle in shown.items():
        if handle is not None:
            _let_hide(server, name, handle)
    with server.gui.add_folder("texts"):
        server.gui.add_markdown(_markdown(scene, known, texts))
    pose = scene.poses[0].double().numpy()
    eye, forward = pose[:3, 3], pose[:3, 2]
    server.initial_camera.look_at = eye + 2 * forward
    server.initial_camera.position = eye - forward + _RAISED


def _add_cloud(server: Any, scene: Scene) -> Any:
    if scene.depth is None:
        return None
    seen = (scene.depth > 0).flatten()
    points = unproject(scene.depth, scene.intrinsics, scene.poses).flatten(0, 2)[seen]
    colors = scene.images.permute(0, 2, 3, 1).flatten(0, 2)[seen]
    if len(points) > _MOST_POINTS:
        kept = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
        points, colors = points[kept[:_MOST_POINTS]], colors[kept[:_MOST_POINTS]]
    return server.scene.add_point_cloud(
        "/cloud", points.numpy(), colors.numpy(), point_size=_POINT_SIZE, point_shape="circle"
    )


def _add_objects(server: Any, objects: Sequence[SceneObject]) -> Any:
    if not objects:
        return None
    folder = server.scene.add_frame("/objects", show_axes=False)
    for thing in objects:
        box = (torch.from_numpy(part) for part in (thing.center, thing.size, thing.rotation))
        corners = box_corners(*box).numpy()
        edges = corners[np.array(_EDGES)]
        color = np.array(object_color(thing.id), dtype=np.uint8)
        name = f"/objects/{thing.id}"
        colors = np.broadcast_to(color, edges.shape).copy()
        server.scene.add_line_segments(name, edges, colors, thickness=_LINE)
        server.scene.add_label(
            f"{name}/label", f"{thing.class_name} {thing.id}", position=corners.max(axis=0)
        )
    return folder


def _add_cameras(server: Any, scene: Scene) -> Any:
    from scipy.spatial.transform import Rotation

    folder = server.scene.add_frame("/cameras", show_axes=False)
    height, width = scene.image_size
    for view in range(scene.num_views):
        pose = scene.poses[view].numpy().astype(np.float64)
        focal = float(scene.intrinsics[view, 1, 1])
        server.scene.add_camera_frustum(
            f"/cameras/{view}",
            fov=2 * float(np.arctan2(height / 2, focal)),
            aspect=width / height,
            scale=_FRUSTUM,
            image=_small(scene.images[view].permute(1, 2, 0).numpy()),
            wxyz=Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True),
            position=pose[:3, 3],
        )
    return folder


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = max(1, image.shape[1] // 160)
    return np.ascontiguousarray(image[::step, ::step])


def _let_hide(server: Any, name: str, handle: Any) -> None:
    box = server.gui.add_checkbox(name, initial_value=True)

    @box.on_update
    def _(event: Any) -> None:
        handle.visible = box.value


def _markdown(scene: Scene, known: Known, texts: Sequence[Query]) -> str:
    lines = [f"**{scene.name}**", *(f"*assumed: {each}*" for each in scene.assumptions)]
    lines += [_plain(sentence) for sentence in some_of(known.sentences, _SENTENCES)]
    for query in texts:
        said = "" if query.spoken in ("", query.text) else f" **{query.spoken}**"
        lines.append(f"{query.kind}: {query.text}{said}")
    return "\n\n".join(lines)


def _plain(text: str) -> str:
    """Text of other people's files, with nothing of it read as Markdown or HTML."""
    return "".join(f"\\{sign}" if sign in _MARKS else sign for sign in " ".join(text.split()))
