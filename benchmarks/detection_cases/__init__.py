"""Rows of the detection benchmark that nobody built the toolkit against, by area."""
