"""Every probe has a planted mistake that shows only with it, and a sound twin that it is silent about."""

from copy import deepcopy
from typing import Any

import pytest

import gradcheck_lab as gl
from gradcheck_lab.probes import PROBES
from gradcheck_lab.probes.support import compiling
from tests.mistakes.of_probes import PLANTED
from tests.mistakes.registry import Mistake


def found(row: Mistake, subject: Any, *probes: str) -> set[tuple[str, str]]:
    """What a check with some probes says, notes left out."""
    options = {**row.check_options, "probes": set(probes)}
    report = gl.check(subject, *deepcopy(row.inputs), options=dict(row.options), **options)
    return {(finding.cause, finding.message) for finding in report.findings if finding.severity != "note"}


@pytest.fixture(autouse=True)
def _without_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """It compiles C++ code, which takes a minute; tests/probes/test_compiled.py has it."""
    monkeypatch.setattr(compiling, "NAMES", ("eager", "aot_eager"))


@pytest.mark.parametrize("probe", PROBES)
def test_probe_finds_its_planted_mistake_and_passes_its_sound_twin(probe: str) -> None:
    missing = f"the probe {probe} has no planted mistake and no sound twin: add a row to tests/mistakes/of_probes.py"
    assert probe in PLANTED, missing
    row = PLANTED[probe]
    assert found(row, row.wrong(), probe) - found(row, row.wrong()), f"the probe {probe} does not find {row}"
    assert not found(row, row.sound(), probe), f"the probe {probe} flags the sound twin of {row}"


def test_planted_mistakes_are_of_probes_that_exist() -> None:
    for probe in PLANTED:
        assert probe in PROBES, f"tests/mistakes/of_probes.py plants a mistake for {probe}, which is no probe"
