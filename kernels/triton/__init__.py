"""Triton kernels, one module per op stem; import them through :mod:`g2vlm_fast.ops`."""
