"""Layers as people write them, in NumPy and torch, each with the mistakes planted in it."""
