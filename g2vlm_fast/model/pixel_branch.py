"""The pixel branch: views in, dense features and honoured depth, normals and confidence out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.geometry.cameras import pixel_rays, transform_points
from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.depth import (
    depth_from_logit,
    depth_noise,
    fill_missing,
    logit_from_depth,
    normals_from_depth,
)
from g2vlm_fast.model.layers import (
    MLP,
    Conv2d,
    LayerNorm,
    Linear,
    SelfAttentionBlock,
    ZeroLinear,
    fourier_features,
)
from g2vlm_fast.records import SceneBatch, _Record, record

DENSE_STRIDE = 4
_INPUTS = 9  # colour 3, depth, validity, noise, ray direction 3
_OUTPUTS = 7  # depth correction, depth estimate, confidence, normal 3, weight of its base


@record
class Views(_Record):
    """What the pixel branch knows of T views of H x W pixels."""

    feature: Tensor  # [T, C, H/4, W/4]
    depth: Tensor  # [T, H, W] float32 metres: given depth corrected, or estimated where missing
    coarse_depth: Tensor  # [T, H/4, W/4] float32 metres, estimated before the decoder
    given: Tensor  # [T, H, W] bool, where the depth was given
    normal: Tensor  # [T, 3, H, W] float32 unit, world
    confidence_logit: Tensor  # [T, H, W] float32


class PixelBranch(nn.Module):
    """Convolutional stem, ViT blocks within and across views, and a light decoder.

    Given depth is honoured: the output differs from it by less than 3 sigma of its noise. Where
    none is given, the estimate is the given depth around, as far as it reaches, corrected by the
    decoder, and else the coarse estimate that follows the attention across views.

    Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021; Ranftl et al., "Vision
    transformers for dense prediction", ICCV 2021.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        self.config = config
        stem, dim, dense = config.stem_dim, config.pixel_dim, config.dense_dim
        self.patch = config.patch_size
        self.cell = self.patch // DENSE_STRIDE
        self.stem = nn.Sequential(Conv2d(_INPUTS, stem, 3, 2, 1), nn.GELU())
        self.texture = nn.Sequential(Conv2d(stem, dense, 3, 2, 1), nn.GELU())
        self.patchify = Conv2d(dense, dim, self.cell, self.cell)
        self.pose = MLP(12, dim, dim)
        self.place = Linear(2 * 2 * _PLACE_BANDS, dim)

        def blocks(count: int) -> nn.ModuleList:
            arguments = dim, config.pixel_heads, config.mlp_ratio, config.dropout
            return nn.ModuleList(SelfAttentionBlock(*arguments) for _ in range(count))

        self.view_blocks = blocks(config.view_layers)
        self.cross_view_blocks = blocks(config.cross_view_layers)
        self.norm = LayerNorm(dim)
        self.coarse = Linear(dim, self.cell**2)
        self.expand = Linear(dim, dense * self.cell**2)
        self.merge = nn.Sequential(
            Conv2d(2 * dense + 1, dense, 1), nn.GELU(), Conv2d(dense, dense, 3, 1, 1)
        )
        self.narrow = Conv2d(dense, stem, 1)
        self.refine = nn.Sequential(Conv2d(stem, stem, 3, 1, 1), nn.GELU())
        self.predict = ZeroLinear(stem, _OUTPUTS * 4)

    def forward(self, batch: SceneBatch, axes: Tensor, view_scene: Tensor) -> Views:
        """Encode the views of a batch.

        Args:
            batch: its images are ``[T, 3, H, W]``, H and W multiples of the patch size.
            axes: ``[B, 3, 3]`` rows are the axes of each scene's frame in the world.
            view_scene: ``[T]`` int64, the scene of each view.

        Raises:
            ValueError: the image size is no multiple of the patch size.
        """
        height, width = batch.images.shape[-2:]
        if height % self.patch or width % self.patch or not height or not width:
            raise ValueError(
                f"SceneBatch: images must be a multiple of {self.patch} pixels high and wide, got "
                f"{height} x {width}; resize them when collating"
            )
        given, sigma = self._given_depth(batch)
        stem = self.stem(self._inputs(batch, given, sigma, axes[view_scene]))
        texture = self.texture(stem)
        tokens = self._attend(self.patchify(texture), batch, axes, view_scene)
        rows = height // self.patch
        coarse_logit = self._spread(self.coarse(tokens), rows).float()
        dense = torch.cat([self._spread(self.expand(tokens), rows), texture, coarse_logit], dim=1)
        dense = texture + self.merge(dense)
        output = self._decode(dense, stem)
        depth = self._depth(output, coarse_logit, batch.depth, given, sigma)
        return Views(
            feature=dense,
            depth=depth,
            coarse_depth=depth_from_logit(coarse_logit[:, 0], self.config),
            given=given,
            normal=self._normal(output, depth, batch),
            confidence_logit=output[:, 2],
        )

    def _given_depth(self, batch: SceneBatch) -> tuple[Tensor, Tensor]:
        """Return where depth is given, and the standard deviation of its noise."""
        if batch.depth is None:
            missing = batch.images.new_zeros(batch.images[:, 0].shape)
            return missing.bool(), missing
        given = (batch.depth > 0) & batch.depth.isfinite()
        if batch.depth_sigma is not None:
            return given, batch.depth_sigma
        return given, depth_noise(batch.depth, self.config)

    def _inputs(self, batch: SceneBatch, given: Tensor, sigma: Tensor, axes: Tensor) -> Tensor:
        height, width = given.shape[-2:]
        rays = F.normalize(pixel_rays(batch.intrinsics, height, width), dim=-1)
        turn = _levelled_rotation(batch.poses, axes)
        ones = F.pad(turn, (0, 1, 0, 1))
        direction = transform_points(ones, rays.flatten(1, 2)).unflatten(1, (height, width))
        depth = sigma if batch.depth is None else batch.depth
        logit = torch.where(given, logit_from_depth(depth, self.config), 0)
        noise = torch.where(given, (sigma.clamp_min(1e-6) / depth.clamp_min(1e-3)).log() + 5, 0)
        planes = torch.stack([logit, given.float(), noise.clamp(-3, 3)], dim=1)
        return torch.cat([4 * batch.images - 2, planes, direction.movedim(-1, 1)], dim=1)

    def _attend(self, x: Tensor, batch: SceneBatch, axes: Tensor, view_scene: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        place = self.place(_place(rows, columns, x.device))
        pose = self.pose(_relative_pose(batch, axes[view_scene], view_scene))
        tokens = x.flatten(2).mT + place + pose[:, None]
        for block in self.view_blocks:
            tokens = block(tokens)
        bounds = batch.view_offsets[1:-1].cpu().long()
        for block in self.cross_view_blocks:
            scenes = [
                block(views.flatten(0, 1)[None])[0].unflatten(0, (-1, rows * columns))
                for views in tokens.tensor_split(bounds)
            ]
            tokens = torch.cat(scenes)
        return self.norm(tokens)

    def _spread(self, x: Tensor, rows: int) -> Tensor:
        """Turn ``[T, n, C * cell^2]`` tokens into a map ``[T, C, H/4, W/4]``."""
        return F.pixel_shuffle(x.mT.unflatten(-1, (rows, -1)), self.cell)

    def _decode(self, dense: Tensor, stem: Tensor) -> Tensor:
        """Return the dense outputs ``[T, 7, H, W]`` float32."""
        up = F.interpolate(self.narrow(dense).float(), scale_factor=2.0, mode="bilinear")
        x = self.refine(stem + up.to(stem.dtype))
        return F.pixel_shuffle(self.predict(x.movedim(1, -1)).movedim(-1, 1).float(), 2)

    def _depth(
        self, output: Tensor, coarse: Tensor, depth: Tensor | None, given: Tensor, sigma: Tensor
    ) -> Tensor:
        logit = F.interpolate(coarse, scale_factor=float(DENSE_STRIDE), mode="bilinear")[:, 0]
        if depth is None:
            return depth_from_logit(logit + output[:, 1], self.config)
        filled, reach = fill_missing(logit_from_depth(depth, self.config), given)
        logit = torch.lerp(logit, filled, reach) + output[:, 1]
        corrected = depth + 3 * sigma * torch.tanh(output[:, 0])
        return torch.where(given, corrected, depth_from_logit(logit, self.config))

    def _normal(self, output: Tensor, depth: Tensor, batch: SceneBatch) -> Tensor:
        base = normals_from_depth(depth.detach(), batch.intrinsics, batch.poses)
        towards_camera = -batch.poses[:, :3, 2, None, None]
        vector = output[:, 3:6] + torch.sigmoid(output[:, 6:7] + 2) * base + 1e-3 * towards_camera
        return F.normalize(vector, dim=1)


_PLACE_BANDS = 8


def _place(rows: int, columns: int, device: torch.device) -> Tensor:
    """Return the Fourier features ``[rows * columns, 32]`` of the patches' places in the image."""
    y = torch.linspace(-1, 1, rows, device=device) if rows > 1 else torch.zeros(1, device=device)
    x = torch.linspace(-1, 1, columns, device=device) if columns > 1 else y.new_zeros(1)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)
    return fourier_features(grid, shortest=0.25, longest=4.0, bands=_PLACE_BANDS)


def _levelled_rotation(poses: Tensor, axes: Tensor) -> Tensor:
    """Return the rotations ``[T, 3, 3]`` from each camera to its scene's frame."""
    return (axes[:, :, :, None] * poses[:, None, :3, :3]).sum(-2)


def _relative_pose(batch: SceneBatch, axes: Tensor, view_scene: Tensor) -> Tensor:
    """Return ``[T, 12]``: rotation to the scene's frame and offset from its first view (m / 4)."""
    first = batch.poses[batch.view_offsets[:-1].long()][view_scene]
    offset = batch.poses[:, :3, 3] - first[:, :3, 3]
    local = (axes * offset[:, None, :]).sum(-1)
    return torch.cat([_levelled_rotation(batch.poses, axes).flatten(1), local / 4], dim=-1)
