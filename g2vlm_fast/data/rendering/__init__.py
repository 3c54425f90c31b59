"""Solids, and what cameras see of them."""
