"""Every misuse of `judge` has its message, and no candidate is one."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.judging.connection import WorkerLimits
from gradcheck_lab.judging.drawing import drawn_calls, lanes_of
from gradcheck_lab.judging.run import Judgement
from gradcheck_lab.judging.task import load_task
from gradcheck_lab.judging.worker.calls import Calls
from tests.judging.written import TASK, candidate_in, task_in

HEAD = "from gradcheck_lab.specs import real\nspecs = (real('n'),)\ndef reference(x): return x.sin()\n"
TASKS = {
    "": "x.py has no reference; define reference(*inputs, **options) in plain torch",
    "reference = 3": "x.py has no reference; define reference(*inputs, **options) in plain torch",
    "def reference(x): return x": 'x.py has no specs; define specs = (real("n d"), ...), one for each input',
    "specs = (3,)\ndef reference(x): return x": 'specs of x.py is a list of 1; make it of specs such as real("n d")',
    "import nowhere": "x.py cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
    HEAD + "options = 3": "options of x.py is 3; make it a dict by keyword, or a list of such dicts",
    HEAD + "options = {'f': [1, abs]}": "option 'f' of x.py is a list of 2, which cannot be sent to another process; "
    "make it a number, a string, a dtype, a tensor, an array, or a container of these",
    HEAD + "import torch\noptions = {'d': torch.device('cpu')}": "option 'd' of x.py is a device, which cannot be sent",
    HEAD + "dtypes = 'float32'": "dtypes of x.py is 'float32'; make it floating dtypes, as (torch.float32,)",
    HEAD + "tolerance_dtype = 1": "tolerance_dtype of x.py is 1; make it a floating dtype, as torch.bfloat16",
    HEAD + "forbidden = ('aten.nothing',)": "forbidden of x.py names 'aten.nothing', which torch.ops has not; "
    'name an overload packet, as "aten.convolution_backward"',
}


@pytest.mark.parametrize("text", TASKS)
def test_a_task_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = task_in(tmp_path, text).rename(tmp_path / "x.py")
    with pytest.raises(gl.InvalidArgument, match=f"^{re.escape(TASKS[text])}"):
        gl.judge(path, candidate_in(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": 0}, "examples is 0; pass a whole number of at least 1"),
        ({"timeout": 0}, "timeout is 0; pass a number of seconds above 0"),
        ({"timeout": None}, "timeout is None; pass a number of seconds above 0"),
        ({"memory": -1}, "memory is -1; pass a number of GiB above 0"),
        ({"command": "bwrap"}, "the command 'bwrap' has no {}, which stands for the interpreter and its arguments"),
        ({"command": "no-such-wrapper {}"}, "the command 'no-such-wrapper {}' cannot be started: "),
        (
            {"command": "false {}"},
            "the command 'false {}' starts no interpreter with torch and numpy: it ended its process with exit code 1",
        ),
        ({"tolerance": 1e-3}, "judge has no argument 'tolerance'; what the forward takes by keyword goes into options"),
    ],
)
def test_an_argument_that_does_not_fit(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(gl.InvalidArgument, match=f"^{re.escape(message)}"):
        gl.judge(task_in(tmp_path), candidate_in(tmp_path), **arguments)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(gl.InvalidArgument, match=r"^there is no task file .*nowhere\.py$"):
        gl.judge(tmp_path / "nowhere.py", candidate_in(tmp_path))
    with pytest.raises(gl.InvalidArgument, match=r"^there is no candidate .*nowhere\.py$"):
        gl.judge(task_in(tmp_path), tmp_path / "nowhere.py")
    with pytest.raises(gl.InvalidArgument, match=r"^the folder .* has no candidate\.py; judge a file, or the folder of one"):
        gl.judge(task_in(tmp_path), tmp_path)


@pytest.mark.parametrize("text", ["", "candidate = 3", "def candidate(:", "import nowhere"])
def test_a_candidate_that_is_none_fails(tmp_path: Path, text: str) -> None:
    report = gl.judge(task_in(tmp_path, TASK), candidate_in(tmp_path, text), examples=1)
    assert report.verdict == "fail"
    assert [finding.cause for finding in report.findings] == ["raises"]
    assert report.findings[0].message.startswith("importing answer raised ")


def test_the_parent_does_not_import_a_candidate(tmp_path: Path) -> None:
    (tmp_path / "submitted").mkdir()
    (tmp_path / "submitted" / "of_this_candidate_alone.py").write_text("", encoding="utf-8")
    text = "import of_this_candidate_alone\ndef candidate(x, weight, eps): return x"
    path = candidate_in(tmp_path / "submitted", text, "candidate").parent
    assert "of_this_candidate_alone" not in sys.modules
    report = gl.judge(task_in(tmp_path), path, examples=1)
    assert report.findings[0].cause != "raises"  # it was imported where it runs
    assert "of_this_candidate_alone" not in sys.modules


NARROW = """
def candidate(x, weight, eps):
    wrong = 2 if x.element_size() == 4 else 1
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight * wrong
"""


def test_the_same_seed_draws_the_same_calls(tmp_path: Path) -> None:
    task, path = load_task(task_in(tmp_path)), candidate_in(tmp_path)
    judgements = [Judgement(task, path, 6, WorkerLimits(60.0, None), seed) for seed in (7, 7, 8)]
    (first, second, other) = (drawn_calls(task, lanes_of(task)[0], 6, each.random) for each in judgements)
    assert first == second
    assert first != other


def test_a_call_that_lies_where_others_were_says_something_by_itself(tmp_path: Path) -> None:
    task = load_task(task_in(tmp_path))
    for seed in range(20):
        calls = drawn_calls(task, lanes_of(task)[1], 3, Random(seed))
        assert calls[2].plain
        assert [tensor.layout for tensor in calls[2].tensors] == [tensor.layout for tensor in calls[1].tensors]


def test_inputs_of_equal_size_lie_in_the_order_of_those_before_them() -> None:
    known = Calls([])
    former = [torch.ones(2), torch.zeros(2)]
    known.live[1] = [former, [], None, None]
    known.forget([1])
    placed = [known._placed(torch.full((2,), 2.0)) for _ in former]
    assert [value.data_ptr() for value in placed] == [value.data_ptr() for value in former]


@pytest.mark.thorough
def test_the_same_seed_finds_the_same(tmp_path: Path) -> None:
    """The full check is in float64 and finds nothing, so that it is a drawn call that is wrong."""
    wrong, task = candidate_in(tmp_path, NARROW), task_in(tmp_path)
    first, second = (gl.judge(task, wrong, examples=1, seed=7) for _ in range(2))
    assert first.findings == second.findings
    assert first.findings[0].case.startswith("x: float32[")
    assert first.reproduce.endswith("--seed 7")


def test_the_folder_of_a_candidate_may_not_hold_the_task(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    candidate_in(tmp_path, name="candidate")
    with pytest.raises(gl.InvalidArgument, match=r"^the folder .* has root_mean_square\.py in it, and its candidate would"):
        gl.judge(task, tmp_path)
