"""The ops inside models of others; ``transformers`` needs its library installed."""
