"""Every cause has a page in docs/causes/, of the words of its row and of code that runs and says what the page shows."""

from __future__ import annotations

from typing import get_args

import pytest

from docs.cause_pages.__main__ import COMMAND, PAGES, index, page, same
from docs.cause_pages.running import EXAMPLES, example_of
from docs.cause_pages.words import WORDS
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.traits import Cause, Trait


def rewrite(cause: str) -> str:
    example = f"docs/cause_pages/examples/{cause.replace('-', '_')}.py"
    return f"the page of {cause} is not up to date: write or mend {example}, then run `{COMMAND} {cause}`"


@pytest.mark.parametrize("cause", CAUSES.values(), ids=lambda cause: cause.name)
def test_page_has_the_words_of_the_table_and_the_code_of_its_example(cause: Cause) -> None:
    path = PAGES / f"{cause.name}.md"
    assert path.exists(), rewrite(cause.name)
    text, example = path.read_text(encoding="utf-8"), example_of(cause.name)
    first = f"# {cause.name}\n\n**{cause.sentence[0].upper()}{cause.sentence[1:]}.** Fix: {cause.fix}.\n"
    assert text.startswith(first), rewrite(cause.name)
    for part in (example.story, example.wrong, example.call, example.mended):
        assert part in text, rewrite(cause.name)
    for trait in cause.traits:
        assert WORDS[trait] in text, rewrite(cause.name)


def test_index_lists_every_cause() -> None:
    assert (PAGES / "index.md").read_text(encoding="utf-8") == index(), f"run `{COMMAND}`"


def test_no_page_and_no_example_is_of_a_cause_that_is_gone() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"index"}
    examples = {path.stem.replace("_", "-") for path in EXAMPLES.glob("*.py")}
    assert pages == examples == set(CAUSES), f"run `{COMMAND}`, and remove the examples of causes that are gone"


def test_every_trait_has_words_for_the_reader() -> None:
    assert set(WORDS) == set(get_args(Trait)), (
        "say in docs/cause_pages/words.py what the trait means to somebody who reads a page"
    )


ROW = "  input 0 'x'  (3,)   float64  {verdict:7}  {error}        {used}"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("3 forwards; 0.05 s; seed 0", "3 forwards; 1.25 s; seed 0", True),
        ("3 forwards; 0.05 s", "4 forwards; 0.05 s", False),
        ("(relative error 2, allowed 6.7e-15)", "(relative error 2, allowed 6.9e-15)", True),
        ("(relative error 2, allowed 6.7e-15)", "(relative error 3, allowed 6.7e-15)", False),
        (
            ROW.format(verdict="pass", error="4.4e-16", used="0.063"),
            ROW.format(verdict="pass", error="0.0e+00", used="0"),
            True,
        ),
        (
            ROW.format(verdict="fail", error="1.3e+00", used="3e+14"),
            ROW.format(verdict="fail", error="1.3e+00", used="2e+14"),
            True,
        ),
        (
            ROW.format(verdict="fail", error="1.3e+00", used="3e+14"),
            ROW.format(verdict="fail", error="1.4e+00", used="3e+14"),
            False,
        ),
        (
            ROW.format(verdict="fail", error="1.3e+00", used="3e+14"),
            ROW.format(verdict="pass", error="1.3e+00", used="3e+14"),
            False,
        ),
    ],
)
def test_numbers_of_the_size_of_rounding_alone_may_differ(one: str, other: str, expected: bool) -> None:
    assert same(one, other) is expected


@pytest.mark.thorough
@pytest.mark.parametrize("cause", CAUSES.values(), ids=lambda cause: cause.name)
def test_example_is_told_as_its_page_shows(cause: Cause) -> None:
    assert same((PAGES / f"{cause.name}.md").read_text(encoding="utf-8"), page(cause)), rewrite(cause.name)
