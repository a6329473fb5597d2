"""`judge` on the candidates of thirty-two tasks: the verdict and the first cause are those of their rows."""

from __future__ import annotations

from pathlib import Path

import pytest

import gradcheck_lab as gl
from gradcheck_lab.report import Report
from tests.judging.outcomes import ROWS, Row
from tests.judging.running import TASKS

# those that are judged in the ordinary lane: each form, and each kind of what may go wrong
QUICK = frozenset(
    "rms_norm-forgets_mean_term softmax-online linear-weight_transposed swiglu-slots_swapped embedding_bag-library_bag "
    "softmax-dispatch_switched_off layer_norm-static_buffer embedding_bag-caches_by_identity batch_norm-writes_to_upstream "
    "softmax-interpreter_by_a_shell linear_scan-loop cross_entropy-apply_is_the_library gelu-lazy_tensor "
    "l2_normalize-reads_task_beside_it kl_divergence-ends_by_signal".split()
)


def judged(row: Row, examples: int) -> Report:
    folder = TASKS / row.task
    timeout = 60.0 if row.timeout is None else row.timeout
    return gl.judge(folder / "task.py", folder / f"{row.candidate}.py", examples=examples, timeout=timeout, memory=row.memory)


def assert_outcome(row: Row, report: Report) -> None:
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert report.verdict == row.verdict, f"{row.why}\n{report}"
    if row.causes:
        assert errors[0].cause in row.causes, f"{row.why}\n{report}"


@pytest.mark.parametrize("row", [row for row in ROWS if str(row) in QUICK], ids=str)
def test_judge_says_of_a_quick_candidate_what_its_row_says(row: Row) -> None:
    assert_outcome(row, judged(row, examples=3))


@pytest.mark.thorough
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_judge_says_of_every_candidate_what_its_row_says(row: Row) -> None:
    assert_outcome(row, judged(row, examples=20))


@pytest.mark.thorough
@pytest.mark.parametrize("row", [row for row in ROWS if row.causes == ("forbidden-op",)], ids=str)
def test_judge_finds_the_library_itself_right_where_nothing_is_forbidden(row: Row, tmp_path: Path) -> None:
    """The twins of the candidates that call the library: that they call it is all that is wrong with them."""
    task = tmp_path / "task.py"
    task.write_text((TASKS / row.task / "task.py").read_text(encoding="utf-8") + "\n\nforbidden = ()\n", encoding="utf-8")
    report = gl.judge(task, TASKS / row.task / f"{row.candidate}.py", examples=20)
    assert report.verdict == "pass", report


def test_quick_candidates_have_rows() -> None:
    assert {str(row) for row in ROWS} >= QUICK
