"""`gradcheck-lab campaign`: every ending of a case is a finding of that case, and what is done is not done again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gradcheck_lab import Report
from gradcheck_lab.campaigns.results import Result, results_in
from gradcheck_lab.commands import check
from gradcheck_lab.workers.memory import CAN_LIMIT
from tests.campaigns.checks import planned, write_module
from tests.campaigns.test_manifest import CASES
from tests.command_line import exit_code

ENDINGS = {
    "sound": "2, NAME",
    "wrong": "2, NAME, factor=2",
    "aborts": "2, NAME, lambda g: __import__('os').abort()",
    "leaves": "2, NAME, lambda g: __import__('os')._exit(0)",
    "reads_null": "2, NAME, lambda g: __import__('ctypes').string_at(0)",
    "hangs": "2, NAME, lambda g: __import__('time').sleep(600)",
    "fills": "2, NAME, lambda g: g.new_ones(2**33)",
}
CAUSES = {
    "sound": "", "wrong": "constant-factor", "aborts": "crashed", "leaves": "crashed", "reads_null": "crashed",
    "hangs": "timed-out", "fills": "memory-exceeded",
}  # fmt: skip

LAYER = """
import torch
from gradcheck_lab.specs import real

layer = torch.nn.Linear(3, 2)
__gradcheck_specs__ = {"layer": real("n 3")}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return iter([None])


def plan(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Plan into m.jsonl; returns what was written to standard error."""
    capsys.readouterr()
    assert exit_code("campaign", "plan", *arguments) == code
    written = capsys.readouterr()
    Path("m.jsonl").write_text(written.out, encoding="utf-8")
    return written.err


def results(*names: str) -> dict[str, Result]:
    return {result.name: result for result, _ in results_in(Path(name) for name in names or ("m.results.jsonl",))}


@pytest.mark.skipif(not CAN_LIMIT, reason="memory is limited on Linux")
def test_each_ending_is_a_finding_of_its_case_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    write_module("ends", **ENDINGS)
    plan(capsys, "ends.py", "--probes", "compare", "--timeout", "5", "--memory-limit", "4000")
    assert exit_code("campaign", "run", "m.jsonl", "--jobs", "2") == 1
    found = results()
    assert {name.partition(" ")[0].removeprefix("ends.py:"): causes(result) for name, result in found.items()} == {
        name: [cause] if cause else [] for name, cause in CAUSES.items()
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "7/7"
    assert lines[-2].startswith("1 pass, 6 fail; ")
    assert (
        "fail: ends.py:aborts compare - crashed - the backward of the call as given, on float64[5, 3], "
        "ended its process by signal 6 (SIGABRT)"
    ) in lines


def causes(result: Result) -> list[str]:
    assert result.report is not None
    return [finding["cause"] for finding in result.report["findings"] if finding["severity"] == "error"]


def test_second_run_does_nothing_and_a_changed_file_is_planned_anew(capsys: pytest.CaptureFixture[str]) -> None:
    write_module("one", f="2, NAME")
    write_module("two", f="2, NAME")
    axes = ("--probes", "compare", "--dtype", "float32", "--dtype", "float64")
    plan(capsys, "one.py", "two.py", *axes)
    assert exit_code("campaign", "status", "m.jsonl") == 3
    assert capsys.readouterr().out.splitlines() == ["4 not done; 0 s of checks", "0/4"]
    assert exit_code("campaign", "run", "m.jsonl") == 0
    before = Path("m.results.jsonl").read_bytes()
    assert exit_code("campaign", "run", "m.jsonl") == 0
    assert Path("m.results.jsonl").read_bytes() == before
    write_module("two", f="3, NAME")
    assert exit_code("campaign", "run", "m.jsonl") == 2
    assert "error: 'two.py' has changed since the campaign was planned; run campaign plan again" in capsys.readouterr().err
    plan(capsys, "one.py", "two.py", *axes)
    assert exit_code("campaign", "run", "m.jsonl") == 0
    after = Path("m.results.jsonl").read_bytes()
    assert after.startswith(before)
    assert [json.loads(line)["name"].partition(" ")[0] for line in after[len(before) :].splitlines()] == ["two.py:f"] * 2


def test_modules_of_one_campaign_see_nothing_of_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    # both folders have a util.py and a same.py: what a process has imported of one of them is not what the other means
    for folder, name, factor in (("a", "first", 2), ("b", "second", 3)):
        Path(folder).mkdir()
        Path(folder, "util.py").write_text(f"factor = {factor}\n", encoding="utf-8")
        write_module(f"{folder}/same", f="2, NAME")
        write_module(f"{folder}/{name}", f="2, NAME, factor=__import__('util').factor / 2", g="2, NAME")
    plan(capsys, "a/", "b/", "--probes", "compare")
    for jobs in ("1", "2"):
        assert exit_code("campaign", "run", "m.jsonl", "--jobs", jobs, "--results", f"{jobs}.jsonl") == 1
        found = results(f"{jobs}.jsonl")
        assert {name.removesuffix(" compare"): result.verdict for name, result in found.items()} == {
            "a/first.py:f": "pass", "a/first.py:g": "pass", "a/same.py:f": "pass",
            "b/second.py:f": "fail", "b/second.py:g": "pass", "b/same.py:f": "pass",
        }  # fmt: skip


def test_shards_are_merged_and_reported_on_one_page(capsys: pytest.CaptureFixture[str]) -> None:
    write_module("ops", a="2, NAME", b="2, NAME, factor=2", c="2, NAME")
    plan(capsys, "ops.py", "--probes", "compare")
    codes = [exit_code("campaign", "run", "m.jsonl", "--shard", f"{part}/2") for part in (1, 2)]
    assert sorted(codes) == [0, 1]
    shards = sorted(path.name for path in Path().glob("m.results.*-of-2.jsonl"))
    assert [len(results(name)) for name in shards] in ([1, 2], [2, 1])
    capsys.readouterr()
    assert exit_code("campaign", "merge", "m.jsonl") == 0
    assert capsys.readouterr().out == "3 results added to m.results.jsonl\n3/3\n"
    assert exit_code("campaign", "merge", "m.jsonl", shards[0]) == 0
    assert capsys.readouterr().out == "0 results added to m.results.jsonl\n3/3\n"
    assert exit_code("campaign", "report", "m.jsonl") == 1
    page = Path("m.html").read_text(encoding="utf-8")
    assert "ops.py:b compare" in page
    assert "2 pass, 1 fail" in page
    assert exit_code("campaign", "report", "m.jsonl", "--report", "m.json", "--report", "m.sarif") == 1
    data = json.loads(Path("m.json").read_text(encoding="utf-8"))
    assert data["verdicts"] == {"pass": 2, "fail": 1}
    assert {case["name"]: case["why"] for case in data["cases"]} == {
        "ops.py:a compare": "",
        "ops.py:b compare": "constant-factor - gradient of input 0 'x' is wrong in 15 of 15 elements",
        "ops.py:c compare": "",
    }


def test_options_go_to_the_forwards_that_take_them(capsys: pytest.CaptureFixture[str]) -> None:
    write_module("ops", a="2, NAME")
    with Path("ops.py").open("a", encoding="utf-8") as file:
        file.write("power = Op(lambda x, p=2: x**p, lambda g, y, x, p=2: (g * p * x ** (p - 1),), specs=(real('n'),))\n")
    plan(capsys, "ops.py", "--option", "p=2", "--option", "p=3", "--dtype", "float64")
    names = [json.loads(line)["target"] for line in Path("m.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
    assert names == ["ops.py:a", "ops.py:power", "ops.py:power"]
    assert exit_code("campaign", "plan", "ops.py", "--option", "q=2") == 2
    assert capsys.readouterr().err == "error: no object of the plan takes the option 'q'; leave --option q=2 out\n"


def test_folder_is_planned_without_what_cannot_be_imported_and_what_has_no_specs_is_not_checked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("code").mkdir()
    write_module("code/good", a="2, NAME")
    with Path("code/good.py").open("a", encoding="utf-8") as file:
        file.write("print('loud')\nbare = Op(lambda x: x, lambda g, y, x: (g,), name='bare')\n")
    Path("code/bad.py").write_text("from torch.autograd import Function\nclass F(Function): pass\n1 / 0\n", encoding="utf-8")
    told = plan(capsys, "code/", code=3)
    assert told.splitlines()[-1] == "not planned: code/bad.py - importing 'bad' raised ZeroDivisionError: division by zero"
    assert exit_code("campaign", "run", "m.jsonl") == 3
    found = results()
    assert {name: result.verdict for name, result in found.items()} == {
        "code/good.py:a": "pass", "code/good.py:bare": "not-checked",
    }  # fmt: skip
    assert exit_code("campaign", "report", "m.jsonl") == 3


def test_durations_of_an_earlier_campaign_are_in_the_next_plan(capsys: pytest.CaptureFixture[str]) -> None:
    write_module("ops", a="2, NAME")
    plan(capsys, "ops.py", "--probes", "compare")
    assert exit_code("campaign", "run", "m.jsonl", "--results", "here.jsonl") == 0
    assert not Path("m.results.jsonl").exists()
    assert exit_code("campaign", "status", "m.jsonl", "--results", "here.jsonl") == 0
    (result,) = results("here.jsonl").values()
    plan(capsys, "ops.py", "--probes", "compare", "--durations", "here.jsonl")
    (case,) = (json.loads(line) for line in Path("m.jsonl").read_text(encoding="utf-8").splitlines()[1:])
    assert case["seconds"] == result.seconds > 0
    assert case["case"] == result.key


MISUSE = {
    ("plan", "nowhere.py"): "there is no file 'nowhere.py'; '.' has ops.py",
    ("plan", "ops.py:"): "'ops.py:' names nothing to check; write it as pkg.module:name, or a module or folder",
    ("plan", "ops.py", "--dtype", "float8"): (
        "dtype names 'float8', which is unknown; known: bfloat16, float16, float32, float64"
    ),
    ("plan", "ops.py", "--probes", "none"): "probes names 'none', which is unknown; known: all, compare",
    ("plan", "ops.py", "--device", "gpu"): "'gpu' names no device of torch; pass cpu, cuda, cuda:1 or the like",
    ("plan", "ops.py", "--option", "p"): "the option 'p' cannot be read; write it as key=value",
    ("run", "m.jsonl", "--jobs", "0"): "jobs is 0; pass 1 or more",
    ("run", "m.jsonl", "--shard", "3/2"): "shard is '3/2'; pass i/n with i from 1 to n, such as 1/4",
    ("run", "m.jsonl", "--ray-address", "auto"): "--ray-address is for --engine ray; add that, or leave it out",
    ("run", "m.jsonl", "--engine", "ray", "--jobs", "2"): (
        "--jobs is for --engine local; a Ray cluster runs as many cases as it has cores"
    ),
    ("run", "none.jsonl"): "cannot read 'none.jsonl': No such file or directory; write it with gradcheck-lab campaign plan",
    ("report", "m.jsonl", "--report", "m.pdf"): "--report is 'm.pdf'; name a file that ends in .json, .html or .sarif",
    ("status", "m.jsonl", "--results", "no.jsonl"): (
        "cannot read 'no.jsonl': No such file or directory; name files of results"
    ),
}


@pytest.mark.parametrize("arguments", MISUSE, ids=" ".join)
def test_misuse_says_what_to_do(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    write_module("ops", a="2, NAME")
    planned(Path("m.jsonl"), CASES)
    assert exit_code("campaign", *arguments) == 2
    assert capsys.readouterr().err == f"error: {MISUSE[arguments]}\n"


def test_case_on_a_device_has_its_module_and_inputs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    # meta is the one device beside the processor's that is everywhere; it has no values that could be compared
    given: list[tuple[Any, Any]] = []

    def looked(subject: Any, *inputs: Any, **settings: Any) -> Report:
        given.append((subject, inputs))
        return Report("pass", "linear", "module", (), (), "none")

    monkeypatch.setattr(check, "checked_here", looked)
    Path("layer.py").write_text(LAYER, encoding="utf-8")
    report = check.check_target("layer.py:layer", device="meta", probes="compare")
    assert report.reproduce == "gradcheck-lab check layer.py:layer --seed 0  # it ran on meta"
    ((subject, inputs),) = given
    tensors = [*subject.parameters(), *inputs]
    assert [tuple(tensor.shape)[1:] for tensor in tensors] == [(3,), (), (3,)]
    assert {str(tensor.device) for tensor in tensors} == {"meta"}


def test_device_that_is_not_here_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    planned(Path("m.jsonl"), CASES)
    assert exit_code("campaign", "run", "m.jsonl") == 2
    message = "there is no cuda:1 here; plan without --device cuda:1, or run where there is one"
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not Path("m.results.jsonl").exists()
