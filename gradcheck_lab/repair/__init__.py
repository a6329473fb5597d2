"""Mends of a wrong backward: single edits and pairs of them, or the gradients as torch derives them; all are verified."""
