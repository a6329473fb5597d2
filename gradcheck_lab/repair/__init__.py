"""Mends of a wrong backward: single edits and pairs of them, and what autograd's graph says instead; each passes the full check."""
