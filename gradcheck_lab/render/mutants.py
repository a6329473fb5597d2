"""Mutants as text and as a page: how many were noticed, and each that was not, as the diff that a person would write."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from gradcheck_lab.model.mutants import Mutant, MutationData
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.render.lines import STYLES, Line
from gradcheck_lab.render.templates import environment


def mutants_text(report: MutationData) -> str:
    """The report as plain text."""
    return "\n".join(text for text, _ in mutants_lines(report))


def mutants_lines(report: MutationData) -> list[Line]:
    """The counts, a paragraph for each survivor, and the test to paste."""
    lines: list[Line] = [(text, STYLES[report.verdict]) for text in headlines(report)]
    for mutant in report.survivors:
        lines += [("", ""), *_survivor(report, mutant)]
    if report.unnoticed_by_tests and report.test:
        lines += [("", ""), ("this test notices what check noticed:", "bold"), *_indented(report.test)]
    return lines


def headlines(report: MutationData) -> list[str]:
    """How many mutants were noticed by the tests and by check, and how many do not count."""
    found = [f"{report.subject}: {noticed_by_tests(report)}"] if report.tests else []
    checked = [mutant for mutant in report.counted if mutant.check != "not run"]
    check = f"{len(checked) - len(report.unnoticed_by_check)} of {len(checked)} mutants noticed by check"
    if checked or not found:
        found.append(check if found else f"{report.subject}: {check}")
    others = Counter(mutant.check for mutant in report.mutants if not mutant.counts)
    beside = [f"{others[name]} {name}" for name in ("equivalent", "invalid") if others[name]]
    beside += [f"{others['unreached']} in lines that no call of the check runs"] if others["unreached"] else []
    beside += [f"{report.left_out} left out"] if report.left_out else []
    return [*found, f"not counted: {', '.join(beside)}"] if beside else found


def noticed_by_tests(report: MutationData) -> str:
    """`41 of 42 mutants noticed by your tests`."""
    counted = len(report.counted)
    return f"{counted - len(report.unnoticed_by_tests)} of {counted} mutants noticed by your tests"


def mutants_html(report: MutationData) -> str:
    """One self-contained page with a table of all mutants, and their diffs; every text in it is escaped."""
    template = environment().get_template("mutants.html.jinja")
    return str(template.render(report=report, headlines=headlines(report), name=lambda path: Path(path).name))


def _survivor(report: MutationData, mutant: Mutant) -> list[Line]:
    place = f"{Path(mutant.path).name}:{mutant.line}, in {mutant.function}"
    who = "your tests would not notice this" if report.tests else "check did not notice this"
    lines: list[Line] = [(one_line(f"{who}: {mutant.sentence} ({mutant.kind}, {place})"), "bold")]
    for text in mutant.diff.splitlines()[2:]:
        style = "red" if text.startswith("-") else "green" if text.startswith("+") else "dim"
        lines.append((f"  {text}", style))
    if mutant.what:
        noticed = f"check notices it, {mutant.cause}: {mutant.what}" if mutant.check == "noticed" else mutant.what
        lines.append((one_line(f"  {noticed}"), ""))
    return lines


def _indented(text: str) -> list[Line]:
    return [(f"  {each}".rstrip(), "") for each in text.splitlines()]
