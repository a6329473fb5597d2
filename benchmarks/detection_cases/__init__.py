"""Mistakes that nobody built the toolkit against, by area."""
