"""The probes that derive other calls name the cause of planted mistakes, and leave sound twins alone."""

import pytest

import gradcheck_lab as gl
from tests.mistakes.values import ROWS, Row

CAUSES = {
    "dtypes": "low-precision wrong-dtype",
    "indices": "duplicate-index",
    "modes": "random-replay mode-mismatch",
    "options": "option-specialised",
    "sizes": "size-specialised unwritten-elements missing-broadcast-sum",
    "values": "non-finite overflow masked-branch tie-mass outside-subdifferential epsilon-mismatch value-dependent",
}
PLANTED = [
    pytest.param(row, probe, id=f"{probe}-{row.name}", marks=[pytest.mark.thorough] if row.name == "layer-norm-epsilon" else [])
    for probe, causes in CAUSES.items()
    for row in ROWS
    if row.cause in causes.split() and row.name != "empty-first-element"
]


@pytest.mark.parametrize(("row", "probe"), PLANTED)
def test_planted_mistake_is_named(row: Row, probe: str) -> None:
    wrong, _, inputs, options = row.make()
    report = gl.check(wrong, *inputs, options=options, probes={probe})
    assert row.cause in {f.cause for f in report.findings if f.severity == "error"}, report


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_sound_twin_passes(row: Row) -> None:
    _, sound, inputs, options = row.make()
    assert_passes(gl.check(sound, *inputs, options=options, probes=set(CAUSES)))


def assert_passes(report: gl.Report) -> None:
    assert report.verdict == "pass", report
    assert all(finding.severity == "note" for finding in report.findings), report
