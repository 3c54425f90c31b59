"""Small furnished box rooms, made here by hand, for the tests of model and losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import look_at, pixel_rays, transform_points
from g2vlm_fast.model import G2VLM, G2VLMConfig
from g2vlm_fast.ontology import EVERYTHING
from g2vlm_fast.records import SceneBatch, Targets, Task

HEIGHT, WIDTH = 48, 64
WORDS = ["<pad>", "<start>", "<end>", "<number>", "red", "blue", "yes", "no", "table", "chair"]


def small_config(**changes: Any) -> G2VLMConfig:
    """The tiny size with a small text encoder that starts from random weights."""
    bert = {
        "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 64, "vocab_size": 100, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    settings: dict[str, Any] = {"text_encoder": bert, "answer_vocabulary": WORDS}
    return G2VLMConfig.tiny(**(settings | changes))


def small_model(seed: int = 0, **changes: Any) -> G2VLM:
    torch.manual_seed(seed)
    return G2VLM(small_config(**changes))


def offsets_of(sizes: list[int]) -> Tensor:
    return torch.tensor([0, *sizes], dtype=torch.int32).cumsum(0).int()


def cast_rays(
    origin: Tensor, direction: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Enter and leave the axis-parallel boxes ``[K, 3]``: distances ``[N, K]``."""
    inverse = 1 / torch.where(direction.abs() < 1e-9, 1e-9, direction)[:, None]
    first, second = (low - origin) * inverse, (high - origin) * inverse
    return torch.minimum(first, second).amax(-1), torch.maximum(first, second).amin(-1)


class Room:
    """A box room with axis-parallel furniture, seen by cameras in its middle."""

    size = torch.tensor([4.0, 5.0, 2.5])

    def __init__(self, seed: int, objects: int = 3, views: int = 3) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.extent = 0.4 + 0.5 * torch.rand(objects, 3, generator=draw)
        angle = 2.1 * torch.arange(objects) + torch.rand(1, generator=draw)
        ground = 1.3 * torch.stack([angle.cos(), angle.sin()], dim=-1)
        self.center = torch.cat([ground, self.extent[:, 2:] / 2], dim=-1)
        self.color = torch.rand(objects + 1, 3, generator=draw)
        self.classes = torch.randint(0, 10, (objects,), generator=draw)
        around = 2.1 * torch.arange(views) + torch.rand(1, generator=draw)
        eye = torch.stack([0.3 * around.cos(), 0.3 * around.sin(), torch.full((views,), 1.5)], -1)
        target = torch.stack(
            [1.4 * around.cos(), 1.4 * around.sin(), torch.full((views,), 0.5)], -1
        )
        self.poses = look_at(eye, target)
        self.intrinsics = torch.tensor([[45.0, 0, 31.5], [0, 45, 23.5], [0, 0, 1]]).expand(
            views, 3, 3
        )
        self.render()

    def render(self) -> None:
        views = len(self.poses)
        rays = pixel_rays(self.intrinsics, HEIGHT, WIDTH).flatten(1, 2)
        world = transform_points(self.poses, rays) - self.poses[:, None, :3, 3]
        low, high = self.center - self.extent / 2, self.center + self.extent / 2
        depth, instance, normal = [], [], []
        half = self.size / 2
        for view in range(views):
            origin = self.poses[view, :3, 3]
            enter, leave = cast_rays(origin, world[view], low, high)
            hit = torch.where((enter < leave) & (enter > 0), enter, torch.inf)
            corner = torch.tensor([0.0, 0.0, half[2]])
            _, wall = cast_rays(origin, world[view], corner[None] - half, corner[None] + half)
            distance, which = torch.cat([wall, hit], dim=1).min(dim=1)
            point = origin + distance[:, None] * world[view]
            middle = torch.cat([corner[None], self.center])[which]
            size = torch.cat([self.size[None], self.extent])[which]
            face = ((point - middle) / size).abs().argmax(-1)
            towards = torch.nn.functional.one_hot(face, 3) * -world[view].sign()
            depth.append(distance)
            instance.append(which - 1)
            normal.append(towards)
        shape = (views, HEIGHT, WIDTH)
        self.depth = torch.stack(depth).view(shape)
        self.instance = torch.stack(instance).view(shape)
        self.normal = torch.stack(normal).view(*shape, 3).movedim(-1, 1).float()
        self.images = self.color[self.instance + 1].movedim(-1, 1)


def make_batch(
    seeds: tuple[int, ...] = (0, 1), *, depth: bool = True, mesh: bool = False, texts: int = 4,
    views: int = 3,
) -> tuple[SceneBatch, Targets]:  # fmt: skip
    """Return rooms as a batch, and what is true of them."""
    rooms = [Room(seed, objects=3 + seed % 2, views=views) for seed in seeds]
    draw = torch.Generator().manual_seed(sum(seeds))
    true_depth = torch.cat([room.depth for room in rooms])
    sigma = 0.01 * true_depth
    noisy = true_depth + sigma * torch.randn(true_depth.shape, generator=draw)
    noisy[:, :6, :9] = 0
    count = [len(room.classes) for room in rooms]
    lengths = torch.randint(3, 8, (texts * len(rooms),), generator=draw).tolist()
    mesh_fields: dict[str, Tensor] = {}
    if mesh:
        corners = [box_mesh(room) for room in rooms]
        sizes = [len(vertices) for vertices, _ in corners]
        starts = offsets_of(sizes)
        mesh_fields = {
            "vertices": torch.cat([vertices for vertices, _ in corners]),
            "faces": torch.cat([faces + starts[i] for i, (_, faces) in enumerate(corners)]).int(),
            "vertex_offsets": starts,
        }
    batch = SceneBatch(
        images=torch.cat([room.images for room in rooms]),
        intrinsics=torch.cat([room.intrinsics for room in rooms]),
        poses=torch.cat([room.poses for room in rooms]),
        gravity=torch.tensor([[0.0, 0.0, -1.0]]).repeat(len(rooms), 1),
        view_offsets=offsets_of([views] * len(rooms)),
        depth=noisy if depth else None,
        depth_sigma=sigma if depth else None,
        text_ids=torch.randint(5, 100, (sum(lengths),), generator=draw) if texts else None,
        text_offsets=offsets_of(lengths) if texts else None,
        text_scene=torch.arange(len(rooms)).repeat_interleave(texts) if texts else None,
        **mesh_fields,
    )
    return batch, make_targets(rooms, count, texts, draw)


def make_targets(rooms: list[Room], count: list[int], texts: int, draw: torch.Generator) -> Targets:
    surface = [room_surface(room, draw) for room in rooms]
    queries, distances = zip(*[room_distances(room, draw) for room in rooms], strict=True)
    starts = offsets_of(count)
    pairs, labels = [], []
    for scene, room in enumerate(rooms):
        index = torch.arange(count[scene])
        pair = torch.cartesian_prod(index, index)
        pair = pair[pair[:, 0] != pair[:, 1]]
        offset = room.center[pair[:, 0]] - room.center[pair[:, 1]]
        near = (offset.norm(dim=-1) < 1.5).to(torch.int8)
        undecided = [torch.full_like(near, -1)] * (len(EVERYTHING.relations) - 2)
        label = torch.stack([near, 1 - near, *undecided], dim=-1)
        pairs.append(pair + starts[scene])
        labels.append(label)
    number = len(rooms) * texts
    answers = [[[3, 2], [4 + text % 6, 2], [], []][text % 4] for text in range(number)]
    value = torch.full((number,), torch.nan)
    value[::4] = 1 + torch.rand(len(value[::4]), generator=draw)
    task = torch.tensor([Task.QUESTION, Task.QUESTION, Task.REFERRING, Task.CAPTION])
    referred = torch.full((number,), -1)
    for text in range(2, number, 4):
        referred[text] = starts[text // texts] + text % count[text // texts]
    return Targets(
        depth=torch.cat([room.depth for room in rooms]),
        normal=torch.cat([room.normal for room in rooms]),
        instance=torch.cat([room.instance for room in rooms]),
        surface_points=torch.cat([points for points, _ in surface]),
        surface_normals=torch.cat([normals for _, normals in surface]),
        surface_offsets=offsets_of([len(points) for points, _ in surface]),
        query_points=torch.cat(queries),
        query_distance=torch.cat(distances),
        query_observed=torch.ones(sum(map(len, queries)), dtype=torch.bool),
        query_offsets=offsets_of([len(points) for points in queries]),
        box_center=torch.cat([room.center for room in rooms]),
        box_size=torch.cat([room.extent for room in rooms]),
        box_rotation=torch.eye(3).repeat(sum(count), 1, 1),
        object_class=torch.cat([room.classes for room in rooms]),
        object_offsets=starts,
        relation_pairs=torch.cat(pairs),
        relation_labels=torch.cat(labels),
        relation_offsets=offsets_of([len(pair) for pair in pairs]),
        text_task=task.repeat(number)[:number] if texts else None,
        answer_ids=torch.tensor([word for answer in answers for word in answer]),
        answer_offsets=offsets_of([len(answer) for answer in answers]),
        answer_value=value,
        referred_object=referred,
    )


def room_surface(room: Room, draw: torch.Generator, count: int = 400) -> tuple[Tensor, Tensor]:
    """Sample points and normals of the walls and of the furniture."""
    center = torch.cat([torch.tensor([[0.0, 0.0, 1.25]]), room.center])
    size = torch.cat([room.size[None], room.extent])
    which = torch.randint(0, len(center), (count,), generator=draw)
    axis = torch.randint(0, 3, (count,), generator=draw)
    side = torch.randint(0, 2, (count,), generator=draw).float() * 2 - 1
    place = torch.rand(count, 3, generator=draw) - 0.5
    place[torch.arange(count), axis] = side / 2
    normal = torch.nn.functional.one_hot(axis, 3) * side[:, None]
    return center[which] + place * size[which], torch.where(which[:, None] == 0, -normal, normal)


def room_distances(room: Room, draw: torch.Generator, count: int = 200) -> tuple[Tensor, Tensor]:
    """Sample points in the room and their signed distance, positive in free space."""
    points = (torch.rand(count, 3, generator=draw) - 0.5) * room.size + torch.tensor([0, 0, 1.25])
    wall = (room.size / 2 - (points - torch.tensor([0, 0, 1.25])).abs()).amin(-1)
    gap = (points[:, None] - room.center).abs() - room.extent / 2
    box = gap.relu().norm(dim=-1) + gap.amax(-1).clamp_max(0)
    return points, torch.minimum(wall, box.amin(-1))


def box_mesh(room: Room) -> tuple[Tensor, Tensor]:
    """Return the furniture as triangle meshes: vertices ``[8 K, 3]``, faces ``[12 K, 3]``."""
    corner = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 3)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = torch.tensor([[a, b, c] for a, b, c, _ in quads] + [[a, c, d] for a, _, c, d in quads])
    vertices = room.center[:, None] + corner * room.extent[:, None]
    starts = 8 * torch.arange(len(room.center))
    return vertices.flatten(0, 1), (faces + starts[:, None, None]).flatten(0, 1)


Rooms = tuple[SceneBatch, Targets]


@pytest.fixture(scope="session")
def make_rooms() -> Callable[..., Rooms]:
    """The function that makes a batch of rooms."""
    return make_batch


@pytest.fixture(scope="session")
def make_model() -> Callable[..., G2VLM]:
    """The function that makes a small model."""
    return small_model


@pytest.fixture(scope="session")
def make_config() -> Callable[..., G2VLMConfig]:
    """The function that makes a small configuration."""
    return small_config


@pytest.fixture(scope="session")
def rooms() -> Rooms:
    return make_batch()


@pytest.fixture(scope="session")
def model() -> G2VLM:
    """A model that no test trains, in evaluation mode."""
    return small_model().eval()
