"""What cannot be read is refused with the nearest readings, and the wrapper of the first works when it is pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gradcheck_lab as gl
from gradcheck_lab.subjects.readings.reading import PASTE
from tests.subjects.unread import HEAD, PAIRS

CASES = {**PAIRS}


def refusal_of(code: str, factor: float, path: Path) -> tuple[str, dict[str, Any]]:
    """The message of the call at the end of the code, and the user's names after it."""
    space: dict[str, Any] = {"__name__": path.stem, "K": factor}
    path.write_text(HEAD + code, encoding="utf-8")
    with pytest.raises(gl.InvalidArgument) as caught:
        exec(compile(HEAD + code, str(path), "exec", dont_inherit=True), space)
    return str(caught.value), space


def pasted(message: str, space: dict[str, Any]) -> gl.Report:
    """The report of the wrapper in a message, run in the names of the user."""
    code = message.partition(f"\n{PASTE}\n")[2]
    *before, last = code.splitlines()
    exec("\n".join(before), space)
    report = eval(last, space)
    assert isinstance(report, gl.Report)
    return report


@pytest.mark.parametrize("code", CASES.values(), ids=CASES)
def test_the_wrapper_in_the_message_works(code: str, tmp_path: Path) -> None:
    message, space = refusal_of(code, 1.0, tmp_path / "sound.py")
    report = pasted(message, space)
    assert report.verdict == "pass", f"{message}\n{report}"
    message, space = refusal_of(code, 1.5, tmp_path / "wrong.py")
    report = pasted(message, space)
    assert report.verdict == "fail", f"{message}\n{report}"


def test_a_pair_is_shown_three_readings_in_its_own_names(tmp_path: Path) -> None:
    message, _ = refusal_of(PAIRS["inputs-then-upstream"], 1.0, tmp_path / "sound.py")
    assert message.splitlines() == [
        "cannot tell what the backward of matmul takes: its parameters are p, q, r; the nearest readings are",
        "  1. output = matmul(x, w), then pull(x, w, grad_output)",
        "  2. output = matmul(x, w), then pull(x, w, output)",
        "  3. output = matmul(x, w), then pull(grad_output, w, output)",
        "paste the first, or write another of them like it:",
        "gl.check((matmul, lambda grad_output, x, w: pull(x, w, grad_output)), x, w)",
    ]


def test_a_cache_before_the_result_is_turned_around(tmp_path: Path) -> None:
    message, _ = refusal_of(PAIRS["cache-before-the-result"], 1.0, tmp_path / "sound.py")
    assert message.splitlines()[1] == "  1. cache, output = run(x, w), then pull(cache, grad_output)"
    assert message.splitlines()[-1] == (
        "gl.check((lambda x, w: run(x, w)[::-1], lambda grad_output, cache: pull(cache, grad_output)), x, w)"
    )
