"""Adapters of other implementations to the signatures of our ops."""
