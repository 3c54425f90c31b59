"""Benchmarks: generated rooms, recorded scans with frames held out, layouts of real rooms."""

from g2vlm_fast.eval.benchmarks.layouts import LayoutBenchmark
from g2vlm_fast.eval.benchmarks.rooms import NOISE_SCALES, Noise, RoomBenchmark
from g2vlm_fast.eval.benchmarks.scans import ScanBenchmark

__all__ = ["NOISE_SCALES", "LayoutBenchmark", "Noise", "RoomBenchmark", "ScanBenchmark"]
