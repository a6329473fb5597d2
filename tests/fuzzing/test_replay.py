"""Failing cases as files: what they hold, that they build the same call again, and `gradcheck-lab fuzz` and `replay`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.commands.fuzz import fuzz_targets
from gradcheck_lab.commands.fuzz_jobs import Job, fuzz_run_of
from gradcheck_lab.commands.replay import replay_case
from gradcheck_lab.fuzzing.coding import Coding
from gradcheck_lab.fuzzing.portable import SavedCase, write
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.fuzzing.script import tensor_lines
from gradcheck_lab.fuzzing.strategy import coded_recipes
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import integers, labels, mask, nonzero, one_hot, positive, probabilities, real
from gradcheck_lab.strategies import calls, load
from tests.command_line import exit_code

LIBRARY = """
import torch
from gradcheck_lab import op
from gradcheck_lab.specs import real

@op(real("*b d"))
def double(x):
    return 2 * x

@double.backward
def double_backward(grad_output, output, x):
    return ((3 if x.shape[-1] == 3 else 2) * grad_output,)

@op(real("*b d"))
def triple(x):
    return 3 * x

@triple.backward
def triple_backward(grad_output, output, x):
    return (3 * grad_output,)

class Net:
    def __init__(self, n): pass
    def forward(self, x): return x
    def backward(self, g): return g

class Undescribed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return 2 * x
    @staticmethod
    def backward(ctx, g): return 2 * g
"""

EVERY_KIND = (
    real("*b d"),
    positive("d"),
    nonzero("n d"),
    probabilities("n d"),
    one_hot("n d"),
    labels("n", classes="d"),
    integers("n", low=-3, high=9),
    mask("n d"),
)
CODING = Coding((EVERY_KIND,), (1, 2, 3, 9, 17), (torch.float64, torch.float32, torch.bfloat16), {"flag": [False, True]})


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with a module, and no database."""
    (tmp_path / "mylib.py").write_text(LIBRARY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delitem(sys.modules, "mylib", raising=False)
    before = settings.get_current_profile_name()
    settings.register_profile("without a database", settings(database=None, deadline=None))
    settings.load_profile("without a database")
    yield tmp_path
    settings.load_profile(before)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    alike = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    return alike and (not a.numel() or a.stride() == b.stride())


@given(coded_recipes(CODING))
def test_case_builds_the_same_tensors_after_json(call: CallRecipe) -> None:
    saved = SavedCase(call, "op", "mylib:op", None, 2, ("raises",), "a finding", "words", "python", 5)
    again = SavedCase.from_dict(json.loads(json.dumps(saved.to_dict(), allow_nan=False)))
    assert replace(again, call=call) == saved
    assert (again.call.options, again.call.seed) == (call.options, call.seed)
    first, second = call.build().inputs, again.call.build().inputs
    assert all(same(a, b) for a, b in zip(first, second, strict=True))


@given(coded_recipes(CODING))
def test_lines_of_python_make_the_same_tensors(call: CallRecipe) -> None:
    for tensor in call.tensors:
        namespace: dict[str, Any] = {"torch": torch}
        exec("\n".join(tensor_lines("x", tensor)), namespace)
        assert same(namespace["x"], tensor.build())


@given(coded_recipes(CODING), st.data())
def test_widened_call_has_the_same_values(call: CallRecipe, data: st.DataObject) -> None:
    for narrow, wide in zip(call.build().inputs, call.widened().build().inputs, strict=True):
        assert torch.equal(narrow.double(), wide.double())
        assert wide.dtype == torch.float64 or not wide.is_floating_point()


def test_file_of_a_failing_call_is_loaded_and_replayed(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("fuzz", "mylib:double", "--save", "cases") == 1
    out = capsys.readouterr().out
    (path,) = (library / "cases").glob("double-*.json")
    command = f"gradcheck-lab replay {Path('cases') / path.name} mylib:double"
    assert f"  reproduce: {command}\n" in out
    assert out.splitlines()[-1].startswith("mylib:double: ")
    case = load(path)
    assert [tuple(value.shape) for value in case.inputs] == [(1, 3)]
    assert exit_code(*command.split()[1:], "--json", "report.json") == 1
    assert capsys.readouterr().out.startswith("double: gradient of input 0 'x' is wrong in 3 of 3 elements\n")
    report = gl.Report.from_dict(json.loads((library / "report.json").read_text(encoding="utf-8")))
    assert report.reproduce == command


def test_printed_python_runs_by_itself(library: Path) -> None:
    report = fuzz_run_of(Job("mylib:double", 100, 0, 0, folder=library)).run()
    assert report.failing_case is not None
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", report.failing_case["python"]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    actual, expected = (part.partition("]]")[0].split(",") for part in done.stdout.split("[[")[1:])
    assert [float(a) / float(b) for a, b in zip(actual, expected, strict=True)] == pytest.approx([1.5] * 3, rel=1e-3)


def test_printed_python_imports_a_file_as_a_module(library: Path) -> None:
    report = fuzz_run_of(Job("mylib.py:double", 100, 0, 0, folder=library)).run()
    assert report.failing_case is not None
    lines = report.failing_case["python"]
    assert "from mylib import double" in lines
    exec(lines.replace("print(", "shown = ("), names := {})
    actual, expected = names["shown"]
    assert not torch.allclose(actual, expected)


def test_mended_op_passes_on_replay(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("fuzz", "mylib:double", "--save", "cases") == 1
    (path,) = (library / "cases").glob("double-*.json")
    (library / "mylib.py").write_text(LIBRARY.replace("3 if", "2 if"), encoding="utf-8")
    del sys.modules["mylib"]
    capsys.readouterr()
    assert exit_code("replay", str(path), "mylib:double") == 0
    assert capsys.readouterr().out.startswith("double: pass - ")


def test_saved_case_serves_as_an_explicit_example(tmp_path: Path) -> None:
    op = Op(lambda x: x * x, lambda grad_output, output, x: (x * grad_output,), name="half", specs=(real("n"),))
    FuzzRun(op, (), folder=tmp_path).run()
    (path,) = tmp_path.glob("half-*.json")

    @settings(max_examples=1, database=None)
    @example(load(path))
    @given(calls(ops.relu))
    def agrees(case: Case) -> None:
        gl.assert_gradients(op, *case.inputs, options=case.options, probes=(), seed=case.seed)

    with pytest.raises(gl.GradientMismatch):
        agrees()


@pytest.mark.usefixtures("library")
def test_module_is_fuzzed_and_what_cannot_be_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("fuzz", "mylib", "--examples", "50", "--json", "run.json") == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("triple: pass - 1 gradient agrees with ") for line in lines)
    assert "double: gradient of input 0 'x' is wrong in 3 of 3 elements" in lines
    assert "not fuzzed: Net - its constructor needs n; make one in the module, such as net = Net(...)" in lines
    data = json.loads(Path("run.json").read_text(encoding="utf-8"))
    assert data["verdict"] == "fail"
    assert data["reports"]["triple"]["examples"] == 50
    total = 50 + data["reports"]["double"]["examples"]
    assert lines[-1] == f"mylib: {total} examples: 1 fail, 1 pass; 2 not fuzzed"


@pytest.mark.usefixtures("library")
def test_processes_share_the_examples() -> None:
    counted: list[tuple[str, int, int]] = []
    fuzzed = fuzz_targets(Job("mylib:triple", 31, 0, 0), 2, lambda *count: counted.append(count))
    assert (fuzzed.verdict, fuzzed.examples, list(fuzzed.reports)) == ("pass", 31, ["triple"])
    assert counted[-1][:2] == ("triple", 31)


@pytest.mark.usefixtures("library")
def test_interrupted_command_prints_what_is_known(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Any, call: CallRecipe) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradcheck_lab.fuzzing.search.Search._is_wrong", interrupt)
    assert exit_code("fuzz", "mylib:triple") == 130
    out = capsys.readouterr().out
    assert out.startswith("triple: inconclusive - ")
    assert out.splitlines()[-1] == "mylib:triple: 0 examples: 1 inconclusive; interrupted"


@pytest.mark.usefixtures("library")
def test_interrupted_processes_end_with_what_is_known() -> None:
    def interrupt(name: str, examples: int, wrong: int) -> None:
        if not interrupted:
            interrupted.append(examples)
            raise KeyboardInterrupt

    interrupted: list[int] = []
    fuzzed = fuzz_targets(Job("mylib:triple", 100_000, 0, 0), 2, interrupt)
    assert (fuzzed.verdict, fuzzed.interrupted, list(fuzzed.reports)) == ("inconclusive", True, ["triple"])
    assert interrupted[0] <= fuzzed.examples < 100_000


MISUSES = {
    "no-such-file": (
        ("replay", "nothing.json"),
        "cannot read 'nothing.json': No such file or directory; name a file that gl.fuzz saved",
    ),
    "no-json": (
        ("replay", "mylib.py"),
        "'mylib.py' is no JSON (Expecting value: line 2 column 1 (char 1)); name a file that gl.fuzz saved",
    ),
    "no-case": (
        ("replay", "other.json"),
        "'other.json' is no case: its format is None, schema 1; this version reads 'gradcheck_lab case', schema 1, "
        "as gl.fuzz writes it",
    ),
    "list": (("replay", "list.json"), "'list.json' holds a list of 0; name a file that gl.fuzz saved"),
    "not-importable": (
        ("replay", "local.json"),
        "'local.json' holds a call of 'half', which was in no module; what a file names is not imported, so name it yourself: "
        "gradcheck-lab replay local.json MODULE:NAME",
    ),
    "reference-not-importable": (
        ("replay", "reference.json", "mylib:double"),
        "'reference.json' holds a comparison with a reference that was in no module; what a file names is not imported, "
        "so name it yourself: gradcheck-lab replay reference.json mylib:double --reference MODULE:NAME",
    ),
    "no-specs": (
        ("fuzz", "mylib:Undescribed"),
        "mylib:Undescribed has no specs to draw its inputs from; give one per input, such as "
        "--spec \"real('n d')\" --spec \"labels('n', classes='d')\"",
    ),
    "needs-arguments": (
        ("fuzz", "mylib:Net"),
        "mylib:Net cannot be fuzzed: its constructor needs n; make one in the module, such as net = Net(...)",
    ),
    "no-jobs": (("fuzz", "mylib:double", "--jobs", "0"), "jobs is 0; pass at least 1"),
    "no-examples": (("fuzz", "mylib:double", "--examples", "0"), "examples is 0; pass at least 1"),
    "spec-for-a-module": (
        ("fuzz", "mylib", "--spec", "real('n')"),
        "--spec, --option, --allow and --order are for one object; write it as mylib:name",
    ),
    "third-order": (("fuzz", "mylib:double", "--order", "3"), "order is 3; pass 1 or 2"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_exits_2_with_its_whole_message(library: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (library / "other.json").write_text('{"schema": 1}', encoding="utf-8")
    (library / "list.json").write_text("[]", encoding="utf-8")
    write(SavedCase(CallRecipe(()), "half"), "local.json")
    write(SavedCase(CallRecipe(()), "double", "mylib:double", "?"), "reference.json")
    arguments, message = MISUSES[name]
    assert exit_code(*arguments) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_options_keep_their_values_and_types_in_a_file(tmp_path: Path) -> None:
    options = {
        "dim": (0, (1, -1)),
        "sizes": [2, (3,)],
        "p": float("inf"),
        "low": -float("inf"),
        "fill": float("nan"),
        "a": {"b": ()},
    }
    write(SavedCase(CallRecipe((), options), "op"), tmp_path / "case.json")
    assert repr(load(tmp_path / "case.json").options) == repr(options)


@pytest.mark.parametrize("dim", [(0, 1), [0, 1]], ids=["tuple", "list"])
def test_option_of_several_values_is_replayed(dim: Any, tmp_path: Path) -> None:
    tensor = TensorRecipe("real", (2, 3))
    write(SavedCase(CallRecipe((tensor,), {"dim": dim}), "sum", "gradcheck_lab.ops:sum"), tmp_path / "case.json")
    assert replay_case(tmp_path / "case.json").verdict == "pass"
