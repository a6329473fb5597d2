"""Rows of the catalogue that a check does not get right yet, with what it says instead; their tests are expected to fail."""

WRONG: dict[str, str] = {}

SOUND: dict[str, str] = {}
