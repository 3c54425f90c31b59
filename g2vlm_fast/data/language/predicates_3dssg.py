"""The relationships of 3DSSG beside the relations of this package.

3DSSG (Wald et al., "Learning 3D Semantic Scene Graphs from 3D Indoor Reconstructions", CVPR
2020) annotates 3RScan with 26 relationships and "none", in the order of its
``relationships.txt``. Eleven of ours have one counterpart there. People chose the finer words of
support by how a thing rests, which boxes do not tell, so several of theirs become one of ours.
Its directions are meant from a canonical view of the scan, ours from a named one. Its walls,
floors and ceilings are objects that things are attached to, hang on or stand on; here what holds a
thing is a property of it (:mod:`g2vlm_fast.data.language.holders`).
"""

from __future__ import annotations

PREDICATES_3DSSG: tuple[str, ...] = (
    "none", "supported by", "left", "right", "front", "behind", "close by", "inside",
    "bigger than", "smaller than", "higher than", "lower than", "same symmetry as", "same as",
    "attached to", "standing on", "lying on", "hanging on", "connected to", "leaning against",
    "part of", "belonging to", "build in", "standing in", "cover", "lying in", "hanging in",
)  # fmt: skip

TO_3DSSG: dict[str, str] = {
    "left of": "left",
    "right of": "right",
    "in front of": "front",
    "behind": "behind",
    "on": "supported by",
    "near": "close by",
    "in": "inside",
    "higher than": "higher than",
    "lower than": "lower than",
    "bigger than": "bigger than",
    "smaller than": "smaller than",
}
"""Relations of ``ontology.RELATIONS`` to relationships, one to one."""

FROM_3DSSG: dict[str, str] = {
    **{theirs: ours for ours, theirs in TO_3DSSG.items()},
    "standing on": "on",
    "lying on": "on",
    "standing in": "in",
    "lying in": "in",
    "hanging in": "in",
}
"""Relationships to relations; several become one."""

ONLY_OURS: tuple[str, ...] = ("above", "below", "facing", "aligned with")
"""Relations without a counterpart in 3DSSG; "between", of three objects, has none either."""

ONLY_THEIRS: tuple[str, ...] = (
    "none", "same symmetry as", "same as", "attached to", "hanging on", "connected to",
    "leaning against", "part of", "belonging to", "build in", "cover",
)  # fmt: skip
"""Relationships without a counterpart here: of identity ("same as" is a fact about classes, no
relation of boxes), of parts, and of ways to be fastened."""
