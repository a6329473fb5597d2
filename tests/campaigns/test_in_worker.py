"""What comes back of a worker is data: an answer that is none fails its case and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradcheck_lab import Report
from gradcheck_lab.campaigns.cases import Case, Finished
from gradcheck_lab.campaigns.in_worker import call_of, finished_of
from gradcheck_lab.campaigns.lanes import Lanes
from gradcheck_lab.isolation import write_known
from gradcheck_lab.workers.outcome import Died, MemoryExceeded, Outcome, Returned
from gradcheck_lab.workers.progress import SharedProgress
from tests.campaigns.checks import instant


def lanes(folder: Path) -> Lanes:
    made = Lanes(SharedProgress(2, numbers=1), folder)
    call_of(Case("m:f"), instant, made, 1)
    return made


def finished(board: Lanes, outcome: Outcome, memory: int | None = None) -> Finished:
    return finished_of(Case("m:f", memory=memory), outcome, board, 1)


PASS = Report("pass", "f", "op", (), (), "none").to_dict()


def answer(report: Any) -> dict[str, Any]:
    return {"report": report, "why": "", "seconds": 0.5}


NO_ANSWERS = [
    None, 7, "", "[]", "{}", b"\x80", '{"report": null}', answer({}), answer(7), answer({**PASS, "verdict": "perfect"}),
    answer({**PASS, "verdict": "fail"}), answer({**PASS, "more": 1}), {**answer(PASS), "seconds": "0.5"},
]  # fmt: skip


@pytest.mark.parametrize("value", NO_ANSWERS, ids=lambda value: str(value)[:30])
def test_answer_that_is_none_is_a_crash_of_its_case(value: Any, tmp_path: Path) -> None:
    done = finished(lanes(tmp_path), Returned(value))
    assert done.report is not None
    assert [finding["cause"] for finding in done.report["findings"]] == ["crashed"]
    assert done.verdict == "fail"


def test_answer_of_which_a_report_is_made_is_the_result(tmp_path: Path) -> None:
    assert finished(lanes(tmp_path), Returned(answer(PASS))) == Finished(Case("m:f"), PASS, "", 0.5)


def test_report_that_contradicts_itself_is_told(tmp_path: Path) -> None:
    done = finished(lanes(tmp_path), Returned(answer({**PASS, "verdict": "fail"})))
    assert done.report is not None
    assert done.report["findings"][0]["message"] == (
        "the call as given sent what is no result: a report that contradicts itself: its verdict is 'fail', and 'pass' follows "
        "from its gradients, findings and reasons"
    )


def test_case_that_ends_early_keeps_what_was_known(tmp_path: Path) -> None:
    board = lanes(tmp_path)
    write_known(tmp_path / "1.json", Report("pass", "f", "op", (), (), "autograd", location="m.py:7"))
    board.progress.write(1, "the backward of the call as given,")
    done = finished(board, MemoryExceeded(), 3 * 2**20)
    assert done.report is not None
    (finding,) = done.report["findings"]
    assert (done.verdict, finding["location"], done.report["oracle"]) == ("fail", "m.py:7", "autograd")
    assert finding["message"] == "the backward of the call as given, took more than 3 MiB of memory"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"verdict": 7}'])
def test_what_was_known_and_is_no_report_is_left_out(text: str, tmp_path: Path) -> None:
    board = lanes(tmp_path)
    (tmp_path / "1.json").write_text(text, encoding="utf-8")
    done = finished(board, Died(3))
    assert done.report is not None
    assert [finding["message"] for finding in done.report["findings"]] == [
        "the call as given ended its process with exit code 3"
    ]
