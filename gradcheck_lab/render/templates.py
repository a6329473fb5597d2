"""The templates of HTML, in which every text is escaped, and the sentences that these share with the terminal."""

from __future__ import annotations

from typing import Any

from gradcheck_lab.model.shown import shown
from gradcheck_lab.render import suggested, wording

_WORDS = (
    suggested.no_suggestion,
    suggested.suggestion_heading,
    suggested.suggestion_lines,
    wording.all_causes,
    wording.assurance,
    wording.compared,
    wording.contaminated,
    wording.every_not_run,
    wording.headline,
    wording.left_out,
    wording.not_run,
    wording.place,
    wording.remark,
    wording.smallest_call,
    wording.smallest_words,
    wording.what,
    wording.why,
)


def environment() -> Any:
    """A Jinja environment whose filters are the sentences of `wording`."""
    # Imported on use: most runs write no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("gradcheck_lab", "render"),
        autoescape=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {words.__name__: words for words in _WORDS}
    return made
