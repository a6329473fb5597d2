"""What comes back of a worker is data: an answer that is none fails its case and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradcheck_lab import Report
from gradcheck_lab.campaigns.cases import Case
from gradcheck_lab.campaigns.in_worker import Lanes
from gradcheck_lab.isolation import write_known
from gradcheck_lab.workers.outcome import Died, MemoryExceeded, Returned
from gradcheck_lab.workers.progress import SharedProgress
from tests.campaigns.checks import instant


def lanes(folder: Path) -> Lanes:
    made = Lanes(SharedProgress(2, numbers=1), folder)
    made.call(1, Case("m:f"), instant)
    return made


@pytest.mark.parametrize("value", [None, 7, "", "[]", "{}", b"\x80", '{"report": null}'])
def test_answer_that_is_none_is_a_crash_of_its_case(value: Any, tmp_path: Path) -> None:
    done = lanes(tmp_path).finished(1, Case("m:f"), Returned(value))
    assert done.report is not None
    assert [finding["cause"] for finding in done.report["findings"]] == ["crashed"]


def test_case_that_ends_early_keeps_what_was_known(tmp_path: Path) -> None:
    board = lanes(tmp_path)
    write_known(tmp_path / "1.json", Report("pass", "f", "op", (), (), "autograd", location="m.py:7"))
    board.progress.write(1, "the backward of the call as given,")
    done = board.finished(1, Case("m:f", memory=3 * 2**20), MemoryExceeded())
    assert done.report is not None
    (finding,) = done.report["findings"]
    assert (done.verdict, finding["location"], done.report["oracle"]) == ("fail", "m.py:7", "autograd")
    assert finding["message"] == "the backward of the call as given, took more than 3 MiB of memory"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"verdict": 7}'])
def test_what_was_known_and_is_no_report_is_left_out(text: str, tmp_path: Path) -> None:
    board = lanes(tmp_path)
    (tmp_path / "1.json").write_text(text, encoding="utf-8")
    done = board.finished(1, Case("m:f"), Died(3))
    assert done.report is not None
    assert [finding["message"] for finding in done.report["findings"]] == [
        "the call as given ended its process with exit code 3"
    ]
