"""Promises about the upstream gradient."""
