"""Ops where specs draw nothing, one family a file."""
