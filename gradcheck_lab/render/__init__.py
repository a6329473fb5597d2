"""Renderers, one a file: they format the fields of a `Report` and compute nothing."""
