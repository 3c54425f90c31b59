"""The configuration of a G2VLM: every width, depth, size in metres and word list."""

from __future__ import annotations

from typing import Any, Literal, Self

from transformers import PretrainedConfig

from g2vlm_fast.ontology import CLASSES, RELATIONS, Ontology

PACKAGED_TEXT_ENCODER = "all-MiniLM-L6-v2"
SPECIAL_WORDS = ("<pad>", "<start>", "<end>", "<number>")
PAD, START, END, NUMBER = range(4)


class G2VLMConfig(PretrainedConfig):
    """What a :class:`~g2vlm_fast.model.G2VLM` is built from.

    Lengths are metres unless said otherwise. ``text_encoder`` names any Hugging Face encoder (a
    hub name or a folder), or holds the fields of a configuration (with its ``model_type``) for an
    encoder that starts from random weights. A frozen encoder that is named is not stored with the
    checkpoint: it is found again by its name.

    Raises:
        ValueError: a field is out of its range; the message names it.
    """

    model_type = "g2vlm_fast"

    # pixel branch
    patch_size: int = 8  # pixels, side of a token of the pixel branch; a power of two from 8
    stem_dim: int = 32
    pixel_dim: int = 96
    pixel_heads: int = 3
    view_layers: int = 2
    cross_view_layers: int = 1
    dense_dim: int = 64
    minimum_depth: float = 0.1
    maximum_depth: float = 20.0
    depth_noise: list[float] | None = (
        None  # a, b, c of sigma = a + b (z - c)^2, where none is given
    )

    # lift and vertex branch
    geometry_source: Literal["dense", "sparse", "both"] = "both"
    discontinuity: float = 0.1  # relative bend of inverse depth beyond which a pixel is an edge
    visibility_tolerance: float = 0.05  # relative depth difference that still counts as seen
    vertex_size: float = 0.08  # voxel that thins lifted points
    vertex_budget: int = 2048  # vertices a scene
    point_dim: int = 64
    neighbours: int = 8
    vertex_layers: int = 1

    # scales and tokens
    voxel_sizes: list[float] | None = None  # fine to coarse
    scale_layers: int = 1
    token_scales: int = 2  # how many of the coarsest scales become tokens
    token_budget: int = 160  # tokens a scene
    memory_tokens: int = 32  # of these, how many language sees: coarse and important ones first
    dim: int = 96
    heads: int = 3
    mlp_ratio: float = 2.0

    # spatial head
    num_queries: int = 16  # objects a scene, at most
    query_spacing: float = 0.4  # voted centres closer than this are one object
    maximum_vote: float = 1.5
    object_layers: int = 2
    classes: list[str] | None = None
    relations: list[str] | None = None

    # reconstruction head
    completion_points: int = 6  # a token
    truncation: float = 0.3
    distance_neighbours: int = 4

    # language
    text_encoder: str | dict[str, Any] = PACKAGED_TEXT_ENCODER
    train_text_encoder: bool = False
    text_cache_size: int = 8192  # texts whose frozen features are kept
    fusion_layers: int = 2
    embedding_dim: int = 64
    answer_vocabulary: list[str] | None = None
    decoder_layers: int = 1
    maximum_answer_length: int = 32
    dropout: float = 0.0  # of the pixel branch

    def __post_init__(self, **kwargs: Any) -> None:
        self.classes = list(CLASSES) if self.classes is None else list(self.classes)
        self.relations = list(RELATIONS) if self.relations is None else list(self.relations)
        if self.answer_vocabulary is None:
            self.answer_vocabulary = list(SPECIAL_WORDS)
        if self.depth_noise is None:
            # Nguyen et al., "Modeling Kinect sensor noise", 3DIMPVT 2012
            self.depth_noise = [0.0012, 0.0019, 0.4]
        if self.voxel_sizes is None:
            self.voxel_sizes = [0.2, 0.4, 0.8]
        super().__post_init__(**kwargs)
        self._check()

    def _check(self) -> None:
        def require(holds: bool, field: str, expected: str) -> None:
            if not holds:
                value = getattr(self, field)
                raise ValueError(f"G2VLMConfig: {field} must be {expected}, got {value!r}")

        power_of_two = self.patch_size & (self.patch_size - 1) == 0
        require(self.patch_size >= 8 and power_of_two, "patch_size", "a power of two, at least 8")
        for width, heads in (("pixel_dim", "pixel_heads"), ("dim", "heads")):
            require(
                getattr(self, width) % (4 * getattr(self, heads)) == 0,
                width,
                f"a multiple of 4 * {heads} = {4 * getattr(self, heads)}",
            )
        sizes = self.voxel_sizes or []
        require(
            len(sizes) >= 2 and sizes[0] > 0 and sizes == sorted(set(sizes)),
            "voxel_sizes",
            "two or more positive sizes that increase",
        )
        require(1 <= self.token_scales <= len(sizes), "token_scales", "from 1 to the scales")
        require(0 < self.minimum_depth < self.maximum_depth, "minimum_depth", "in (0, maximum)")
        require(len(self.depth_noise or []) == 3, "depth_noise", "three numbers a, b, c")
        require(
            self.geometry_source in ("dense", "sparse", "both"),
            "geometry_source",
            "'dense', 'sparse' or 'both'",
        )
        require(
            tuple((self.answer_vocabulary or [])[: len(SPECIAL_WORDS)]) == SPECIAL_WORDS,
            "answer_vocabulary",
            f"a list that begins with {SPECIAL_WORDS}",
        )

    @property
    def ontology(self) -> Ontology:
        """The classes and relations that the model tells apart."""
        return Ontology(tuple(self.classes or ()), tuple(self.relations or ()))

    @classmethod
    def tiny(cls, **changes: Any) -> Self:
        """For tests and for training on a CPU in minutes, at images of 48 x 64."""
        return cls(**changes)

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """The shipped baseline: at most 8 M trained parameters, at images of 96 x 128."""
        sizes: dict[str, Any] = {
            "stem_dim": 48, "pixel_dim": 192, "pixel_heads": 6, "view_layers": 4,
            "cross_view_layers": 2, "dense_dim": 96, "point_dim": 96, "vertex_budget": 4096,
            "vertex_size": 0.05, "vertex_layers": 2, "voxel_sizes": [0.1, 0.2, 0.4, 0.8],
            "token_budget": 256, "memory_tokens": 96, "token_scales": 3, "dim": 160, "heads": 5,
            "num_queries": 32, "fusion_layers": 3, "decoder_layers": 2, "embedding_dim": 128,
        }  # fmt: skip
        return cls(**(sizes | changes))

    @classmethod
    def base(cls, **changes: Any) -> Self:
        """About 150 M trained parameters, at images of 224 x 288."""
        sizes: dict[str, Any] = {
            "patch_size": 16, "stem_dim": 96, "pixel_dim": 512, "pixel_heads": 8,
            "view_layers": 8, "cross_view_layers": 4, "dense_dim": 256, "point_dim": 256,
            "vertex_budget": 16384, "vertex_size": 0.03, "vertex_layers": 3, "scale_layers": 2,
            "voxel_sizes": [0.06, 0.12, 0.24, 0.48], "token_budget": 1024, "memory_tokens": 512,
            "token_scales": 3, "dim": 512, "heads": 8, "mlp_ratio": 4.0, "num_queries": 64,
            "object_layers": 4, "fusion_layers": 6, "decoder_layers": 4, "embedding_dim": 256,
            "dropout": 0.1,
        }  # fmt: skip
        return cls(**(sizes | changes))

    @classmethod
    def large(cls, **changes: Any) -> Self:
        """About 1 B trained parameters, at images of 224 x 288."""
        sizes: dict[str, Any] = {
            "patch_size": 16, "stem_dim": 128, "pixel_dim": 1024, "pixel_heads": 16,
            "view_layers": 16, "cross_view_layers": 6, "dense_dim": 512, "point_dim": 512,
            "vertex_budget": 32768, "vertex_size": 0.02, "vertex_layers": 4, "scale_layers": 2,
            "voxel_sizes": [0.05, 0.1, 0.2, 0.4], "token_budget": 2048, "memory_tokens": 1024,
            "token_scales": 3, "dim": 1152, "heads": 12, "mlp_ratio": 4.0, "num_queries": 128,
            "object_layers": 6, "fusion_layers": 9, "decoder_layers": 5, "embedding_dim": 512,
            "dropout": 0.1,
        }  # fmt: skip
        return cls(**(sizes | changes))
