"""Text of others as it may be shown: what a terminal or a reader would take for something else is written out.

Names, messages and files are text of others. An escape sequence in them would move the cursor or write to the clipboard, a
bidirectional control would turn the line around, a lone surrogate cannot be encoded, and a line break would forge a line.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from gradcheck_lab.model.limits import NAMED_CHARACTERS, QUOTED_CHARACTERS

_SENT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # categories: controls, formats (bidi among them), surrogates, separators


def shown(text: str, keep: str = "\n\t") -> str:
    """The text with every control, format and bidi character written as its escape, but for those in `keep`.

    >>> shown("\\x1b[31mred\\u202e\\ud800\\n"), shown("two\\nlines", keep="")
    ('\\\\x1b[31mred\\\\u202e\\\\ud800\\n', 'two\\\\nlines')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if c not in keep and unicodedata.category(c) in _SENT else c for c in text)


def one_line(text: str) -> str:
    """The text with line breaks and tabs written out too, and nothing else lost."""
    return shown(text, keep="")


def cut(text: str) -> str:
    """The text on one line, its end left out where it is long."""
    longest = QUOTED_CHARACTERS.value
    text = one_line(text[: longest + 1])
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def quoted(value: Any) -> str:
    """A value of a file as a message quotes it: on one line, printable, and cut where it is long.

    >>> quoted("a\\nb"), len(quoted("a" * 1000))
    ("'a\\\\nb'", 160)
    """
    if isinstance(value, (dict, list, tuple)):
        return f"a {'table' if isinstance(value, dict) else 'list'} of {len(value)}"
    if type(value) not in (str, int, float, bool, type(None)):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > QUOTED_CHARACTERS.value:
        return f"a whole number of {value.bit_length()} bits"
    return cut(repr(value[: QUOTED_CHARACTERS.value] if isinstance(value, str) else value))


def file_stem(name: str) -> str:
    """A name of the user as the start of a file's name: no folder, no hidden file, nothing that a shell would read.

    >>> file_stem("../../x"), file_stem("test_it.py::test_wrong[1]"), file_stem("\\0")
    ('x', 'test_it.py-test_wrong-1', 'unnamed')
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[: NAMED_CHARACTERS.value].strip("-.") or "unnamed"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
