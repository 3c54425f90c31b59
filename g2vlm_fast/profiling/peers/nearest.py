"""Other searches for nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.specs import Inputs
from g2vlm_fast.profiling.providers import Adapter, Function, NotOffered, Provider

Found = tuple[Tensor, Tensor]
_CHAMFER_OFFSETS = ("x_offsets", "y_offsets")


def _segments(offsets: Tensor | None, length: int) -> list[int]:
    return [length] if offsets is None else offsets.diff().tolist()


def _batch(inputs: Inputs, *, most: int | None = None) -> int:
    """Return how many equal segments the points fall into, or raise NotOffered."""
    query, target, k = inputs["query"], inputs["target"], inputs.get("k", 1)
    sizes = _segments(inputs.get("query_offsets"), query.shape[0])
    target_sizes = _segments(inputs.get("target_offsets"), target.shape[0])
    if len(set(sizes)) > 1 or len(set(target_sizes)) > 1:
        raise NotOffered("it takes segments of one size only")
    if sizes[0] == 0 or target_sizes[0] < k:
        raise NotOffered("it wants at least one query and k targets")
    if inputs.get("max_distance") is not None:
        raise NotOffered("it has no largest distance")
    if not (query.isfinite().all() and target.isfinite().all()):
        raise NotOffered("it takes finite points only")
    if most is not None and len(sizes) > most:
        raise NotOffered(f"it takes at most {most} segments")
    return len(sizes)


def _packed(distance: Tensor, index: Tensor, targets: int) -> Found:
    """Turn distances and indices ``[B, P, k]`` within a segment into packed ones."""
    start = torch.arange(index.shape[0], device=index.device)[:, None, None] * targets
    return distance.flatten(0, 1), (index + start).flatten(0, 1).int()


def _pytorch3d(inputs: Inputs) -> Function:
    from pytorch3d.ops import knn_points

    batch = _batch(inputs)

    def nearest(query: Tensor, target: Tensor, k: int = 1, norm: int = 2, **_: Any) -> Found:
        cloud = target.unflatten(0, (batch, -1))
        found = knn_points(query.unflatten(0, (batch, -1)), cloud, K=k, norm=norm)
        return _packed(found.dists, found.idx, cloud.shape[1])

    return nearest


def _kaolin(inputs: Inputs) -> Function:
    from kaolin.metrics.pointcloud import sided_distance

    batch = _batch(inputs)
    if inputs.get("k", 1) != 1 or inputs.get("norm", 2) != 2 or inputs["query"].shape[1] != 3:
        raise NotOffered("it gives one squared distance in three dimensions only")

    def nearest(query: Tensor, target: Tensor, **_: Any) -> Found:
        cloud = target.unflatten(0, (batch, -1))
        distance, index = sided_distance(query.unflatten(0, (batch, -1)), cloud)
        return _packed(distance[..., None], index[..., None], cloud.shape[1])

    return nearest


def _cdist(inputs: Inputs) -> Function:
    batch = _batch(inputs)

    def nearest(query: Tensor, target: Tensor, k: int = 1, norm: int = 2, **_: Any) -> Found:
        cloud = target.unflatten(0, (batch, -1))
        pairs = torch.cdist(
            query.unflatten(0, (batch, -1)),
            cloud,
            p=norm,
            compute_mode="donot_use_mm_for_euclid_dist",  # the matrix form loses the digits
        )
        best, index = pairs.topk(k, largest=False)
        return _packed(best.square() if norm == 2 else best, index, cloud.shape[1])

    return nearest


def _points(inputs: Inputs) -> Inputs:
    """Return the points of a Chamfer case under the names of a search, or raise NotOffered."""
    plain = {"squared": True, "reduction": "mean", "one_sided": False, "fscore_at": ()}
    for name in inputs.keys() - {"x", "y", *_CHAMFER_OFFSETS}:
        if inputs[name] is not None and (name not in plain or inputs[name] != plain[name]):
            raise NotOffered("it is set up here for the mean of squared distances alone")
    x_offsets, y_offsets = (inputs.get(name) for name in _CHAMFER_OFFSETS)
    return {
        "query": inputs["x"],
        "target": inputs["y"],
        "query_offsets": x_offsets,
        "target_offsets": y_offsets,
    }


def _pytorch3d_chamfer(inputs: Inputs) -> Function:
    from pytorch3d.loss import chamfer_distance

    batch = _batch(_points(inputs))

    def chamfer(x: Tensor, y: Tensor, **_: Any) -> Tensor:
        loss: Tensor = chamfer_distance(x.unflatten(0, (batch, -1)), y.unflatten(0, (batch, -1)))[0]
        return loss

    return chamfer


def _kaolin_chamfer(inputs: Inputs) -> Function:
    from kaolin.metrics.pointcloud import chamfer_distance

    batch = _batch(_points(inputs))

    def chamfer(x: Tensor, y: Tensor, **_: Any) -> Tensor:
        loss: Tensor = chamfer_distance(x.unflatten(0, (batch, -1)), y.unflatten(0, (batch, -1)))
        return loss.mean()

    return chamfer


def _cdist_chamfer(inputs: Inputs) -> Function:
    batch = _batch(_points(inputs))

    def chamfer(x: Tensor, y: Tensor, **_: Any) -> Tensor:
        pairs = torch.cdist(
            x.unflatten(0, (batch, -1)),
            y.unflatten(0, (batch, -1)),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        return pairs.amin(2).square().mean() + pairs.amin(1).square().mean()

    return chamfer


def _from_arrays(distance: Any, index: Any, like: Tensor) -> Found:
    distance, index = torch.as_tensor(distance), torch.as_tensor(index)
    return distance.reshape(len(like), -1).to(like), index.reshape(len(like), -1).int()


Build = Callable[[Inputs], Function]


def _built_anew(build: Build) -> Adapter:
    """Return an adapter whose calls build a tree and search it."""

    def adapter(inputs: Inputs) -> Function:
        _batch(inputs, most=1)

        def nearest(query: Tensor, target: Tensor, **options: Any) -> Found:
            found: Found = build({**inputs, "target": target})(query, **options)
            return found

        return nearest

    return adapter


def _built_before(build: Build) -> Adapter:
    """Return an adapter whose calls search a tree that is there."""

    def adapter(inputs: Inputs) -> Function:
        _batch({**inputs, "target_offsets": inputs.get("offsets")}, most=1)
        search = build(inputs)

        def query(query: Tensor, target: Tensor, **options: Any) -> Found:
            found: Found = search(query, **options)
            return found

        return query

    return adapter


def _scipy(inputs: Inputs) -> Function:
    from scipy.spatial import cKDTree

    tree = cKDTree(inputs["target"].numpy())

    def search(query: Tensor, k: int = 1, norm: int = 2, **_: Any) -> Found:
        distance, index = tree.query(query.numpy(), k=k, p=norm, workers=torch.get_num_threads())
        return _from_arrays(distance**2 if norm == 2 else distance, index, query)

    return search


def _scikit_learn(inputs: Inputs) -> Function:
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(
        n_neighbors=inputs.get("k", 1),
        algorithm="kd_tree",
        p=inputs.get("norm", 2),
        n_jobs=torch.get_num_threads(),
    ).fit(inputs["target"].numpy())

    def search(query: Tensor, norm: int = 2, **_: Any) -> Found:
        distance, index = tree.kneighbors(query.numpy())
        return _from_arrays(distance**2 if norm == 2 else distance, index, query)

    return search


def _open3d(inputs: Inputs) -> Function:
    from open3d import core

    if inputs.get("norm", 2) != 2:
        raise NotOffered("it has squared Euclidean distance only")
    tree = core.nns.NearestNeighborSearch(core.Tensor.from_numpy(inputs["target"].numpy()))
    tree.knn_index()

    def search(query: Tensor, k: int = 1, **_: Any) -> Found:
        index, distance = tree.knn_search(core.Tensor.from_numpy(query.numpy()), k)
        return _from_arrays(distance.numpy(), index.numpy(), query)

    return search


def _both_ways(build: Build) -> dict[str, Adapter]:
    return {"nearest": _built_anew(build), "nearest_index": _built_before(build)}


PEERS = (
    Provider("PyTorch3D", {"nearest": _pytorch3d, "chamfer": _pytorch3d_chamfer}, ("pytorch3d",)),
    Provider(
        "Kaolin", {"nearest": _kaolin, "chamfer": _kaolin_chamfer}, ("kaolin",), devices=("cuda",)
    ),
    Provider("torch.cdist", {"nearest": _cdist, "chamfer": _cdist_chamfer}),
    Provider("scipy", _both_ways(_scipy), ("scipy",), ("cpu",), differentiable=False),
    Provider("scikit-learn", _both_ways(_scikit_learn), ("sklearn",), ("cpu",), False),
    Provider("Open3D", _both_ways(_open3d), ("open3d",), devices=("cpu",), differentiable=False),
)
