"""Writes docs/causes/, a page for each row of the table of causes: `python -m docs.cause_pages`, or with names for these alone.

The code on a page is examples/NAME.py: a docstring that tells the mistake, code that has it, the call under `# %% call`, and
under `# %% mended` what to write instead. Both are run; the message on the page is the one that the call printed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.cause_pages.running import Example, Outcome, example_of, mended_lines, run, wrong_lines
from docs.cause_pages.words import WORDS
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.traits import Cause
from gradcheck_lab.probes import PROBES
from gradcheck_lab.report import Report

PAGES = Path(__file__).parent.parent / "causes"
COMMAND = "python -m docs.cause_pages"
NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
ROUNDING = re.compile(  # durations, both errors of a gradient that passes, the share of its budget that one used, and budgets
    rf"\b{NUMBER} s\b|(?<=  pass   )  *{NUMBER} +{NUMBER}$|(?<=\d)  +{NUMBER}$|(?<=allowed ){NUMBER}|(?<=error of ){NUMBER}",
    re.MULTILINE,
)
INDEX = """
A report names one cause for each wrong gradient, the most specific that the evidence supports. Each has a page: code that has
the mistake, the message that a check of it prints, the mended code, and how it was found. `allow={"cause"}` turns one to a
note.
"""


def problem(cause: Cause, outcome: Outcome) -> str:
    """What an outcome lacks for the page of its cause; empty where nothing does."""
    found = next((f for f in outcome.report.findings if f.severity in (cause.severity, "warning")), None)
    if found is None or found.cause != cause.name:
        return f"the example of {cause.name} is told as {found and found.cause}:\n{outcome.message}"
    if outcome.mended.verdict != "pass":
        return f"the mended example of {cause.name} does not pass:\n{outcome.mended_message}"
    return ""


def page(cause: Cause) -> str:
    """The page of a cause; its example is run for it. Raises `ValueError` where the outcome is another."""
    example = example_of(cause.name)
    outcome = run(example)
    if found := problem(cause, outcome):
        raise ValueError(found)
    return "\n".join(_lines(cause, example, outcome)).rstrip() + "\n"


def index() -> str:
    """The page that lists all of them."""
    lines = ["# Every cause", "", INDEX.strip(), ""]
    for severity, title in (("error", "What is wrong"), ("note", "What is said and is no mistake")):
        rows = [row for row in CAUSES.values() if row.severity == severity]
        lines += [f"## {title}", "", "| cause | what it means | what to do |", "| --- | --- | --- |"]
        lines += [f"| [`{row.name}`]({row.name}.md) | {row.sentence} | {row.fix} |" for row in rows] + [""]
    return "\n".join(lines).rstrip() + "\n"


def same(one: str, other: str) -> bool:
    """Whether two texts differ at most in what differs between runs and machines: durations, and errors of rounding's size."""
    return ROUNDING.sub("", one) == ROUNDING.sub("", other)


def main(names: list[str]) -> int:
    """Write the pages that have changed, and remove those of causes that are gone; 1 where an example is told otherwise."""
    PAGES.mkdir(exist_ok=True)
    _write("index", index())
    problems = 0
    for name in names or CAUSES:
        try:
            _write(name, page(CAUSES[name]))
        except ValueError as error:
            print(error)
            problems += 1
    for path in PAGES.glob("*.md"):
        if path.stem not in {*CAUSES, "index"}:
            path.unlink()
    return 1 if problems else 0


def _write(name: str, text: str) -> None:
    path = PAGES / f"{name}.md"
    if not path.exists() or not same(path.read_text(encoding="utf-8"), text):
        path.write_text(text, encoding="utf-8")
        print(path.name)


def _lines(cause: Cause, example: Example, outcome: Outcome) -> Iterator[str]:
    yield from (f"# {cause.name}", "", f"**{_sentence(cause.sentence)}** Fix: {cause.fix}.", "")
    yield from (example.story, "")
    wrong = cause.severity != "note"
    yield from ("## The code with the mistake" if wrong else "## Code that shows it", "")
    code = f"{example.wrong}\n\n{example.call}\nprint(report)"
    yield from (_fence(code, wrong_lines(example) if wrong else []), code, "```", "")
    yield from ("```text", outcome.message.rstrip(), "```", "")
    if example.mended:
        yield from ("## Mended" if wrong else "## What to do", "")
        yield from (_fence(example.mended, mended_lines(example)), example.mended, "```", "")
        yield from ("```text", outcome.mended_message.splitlines()[0], "```", "")
    yield from ("## How it was found", "", _found_by(cause, outcome.report), "")
    yield from ("## When it is told", "", *_when(cause), "")


def _fence(code: str, marked: list[int]) -> str:
    """The opening of a code block with some of its lines marked, unless that is all of them."""
    every = [number for number, line in enumerate(code.splitlines(), 1) if line.strip()]
    return f'```python hl_lines="{" ".join(map(str, marked))}"' if marked and marked != every else "```python"


def _found_by(cause: Cause, report: Report) -> str:
    finding = next(f for f in report.findings if f.cause == cause.name)
    shown = "The call as given showed it."
    if finding.case != "as given":
        shown = f"A call that was derived from the given one showed it: **{finding.case}**."
    entry = f"In `report.findings` its `cause` is `{cause.name!r}` and its `severity` `{finding.severity!r}`."
    return f"{shown} {_who(finding, report)} {entry}"


def _who(finding: Finding, report: Report) -> str:
    probe: Any = PROBES.get(finding.probe)
    if "no_result" in CAUSES[finding.cause].traits:
        return f"It ended the {finding.stage or 'run'}."
    if probe is None:
        return f"It was compared with {report.oracle.partition(' (')[0]}."
    promise = (probe.__doc__ or "").strip().splitlines()[0].rstrip(".")
    return f"The probe `{finding.probe}` looked for it: {promise[0].lower()}{promise[1:]}."


def _when(cause: Cause) -> Iterator[str]:
    yield from (f"- {words}" for trait, words in WORDS.items() if trait in cause.traits)
    for names, words in (
        (cause.compared_as, "Seen on one call alone, the same mistake may look like"),
        (cause.probed_as, "On other calls the same mistake may also look like"),
    ):
        if names:
            links = ", ".join(f"[`{name}`]({name}.md)" for name in sorted(names))
            yield f"- {words} {links}; these are then not told beside it."
    if cause.severity == "note":
        yield "- It is a note: a check that has nothing else passes."
    else:
        yield f"- `allow={{{cause.name!r}}}` turns it to a note, for a gradient that is meant to be so."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
