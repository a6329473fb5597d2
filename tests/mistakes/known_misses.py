"""Rows of the catalogue that a check does not get right yet, with what it says instead; their tests are expected to fail."""

WRONG: dict[str, str] = {
    "upstream-ignored-module-penalty": "called not-linear: the Function within the module is not asked by itself",
}

SOUND: dict[str, str] = {}
