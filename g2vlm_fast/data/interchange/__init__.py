"""What any system predicts of a scene, in two files that anyone can write."""

from g2vlm_fast.data.interchange.files import (
    ARRAY_FILE,
    JSON_FILE,
    read_prediction,
    write_prediction,
)
from g2vlm_fast.data.interchange.records import (
    PredictedAnswer,
    PredictedCaption,
    PredictedObject,
    PredictedRelation,
    PredictionError,
    ScenePrediction,
)

__all__ = [
    "ARRAY_FILE",
    "JSON_FILE",
    "PredictedAnswer",
    "PredictedCaption",
    "PredictedObject",
    "PredictedRelation",
    "PredictionError",
    "ScenePrediction",
    "read_prediction",
    "write_prediction",
]
