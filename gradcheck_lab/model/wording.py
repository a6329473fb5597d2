"""Names and texts of the user's code, as reports show them."""

from __future__ import annotations

from gradcheck_lab.model.limits import SHOWN_NAME


def readable(name: object) -> str:
    """A name on one line, with control characters, half characters and marks of direction written out.

    >>> readable("a\\nb\\x1b[31m")
    'a\\\\nb\\\\x1b[31m'
    """
    text = str(name)
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(name: object) -> str:
    """A readable name of bounded length."""
    text, most = readable(name), SHOWN_NAME.value
    return text if len(text) <= most else f"{text[: most - 1]}…"
