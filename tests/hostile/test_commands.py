"""The command line and the plugin survive modules that exit, hang, crash and interrupt, and files that cannot be written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from gradcheck_lab.commands.cli import main
from gradcheck_lab.commands.exits import misuse_exits

pytest_plugins = ["pytester"]

LIBRARY = """
import ctypes, os, sys, time
from gradcheck_lab import Op
from gradcheck_lab.specs import real

def doubled(act, name=None):
    def backward(grad_output, output, x):
        act()
        return (2 * grad_output,)
    return Op(lambda x: 2 * x, backward, name=name, specs=(real("n d"),))

def interrupt():
    raise KeyboardInterrupt

def on_the_second(act, calls=[0]):
    def maybe():
        calls[0] += 1
        if calls[0] > 20:
            act()
    return maybe

sound = doubled(lambda: None, "sound")
"""
GIVEN = "the backward of the call as given, on float64[5, 3],"
ACTS = {
    "exits": "lambda: sys.exit(0)",
    "leaves": "lambda: os._exit(0)",
    "interrupts": "interrupt",
    "hangs": "lambda: time.sleep(60)",
    "aborts": "os.abort",
    "leaks": "lambda: bytearray(2**40)",
    "aborts_in_a_probe": "on_the_second(os.abort)",
}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def module(name: str, *acts: str, end: str = "") -> None:
    sys.modules.pop(name, None)
    lines = [LIBRARY, *(f"{act} = doubled({ACTS[act]}, {act!r})" for act in acts), end, ""]
    Path(f"{name}.py").write_text("\n".join(lines), encoding="utf-8")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.parametrize("act", ["exits", "leaves"])
def test_an_exit_of_the_users_code_is_a_failure(act: str, library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module("hostile_exit", act)
    assert run("check", f"hostile_exit:{act}") == 1
    assert capsys.readouterr().out.startswith(f"{act}: backward raised SystemExit\n  cause: raises - 0\n")


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "raise GeneratorExit"])
def test_a_module_that_ends_in_an_exit_is_misuse(end: str, library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module("hostile_main", end=end)
    assert run("check", "hostile_main:sound") == 2
    name = "GeneratorExit" if "Generator" in end else "SystemExit"
    assert capsys.readouterr().err.startswith(f"error: importing 'hostile_main' raised {name}: ")


ENDS = {
    "sys.exit(0)": "raised SystemExit: 0",
    "os._exit(0)": "ended its process with exit code 0; a module has to be importable to be checked",
    "ctypes.string_at(0)": "ended its process by signal 11 (SIGSEGV); a module has to be importable to be checked",
}


@pytest.mark.parametrize("command", ["check", "fuzz"])
@pytest.mark.parametrize("end", ENDS)
def test_a_module_that_ends_its_process_is_one_line(
    command: str, end: str, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module("hostile_ends", end=f"import ctypes\n{end}")
    assert run(command, "hostile_ends") == 2
    assert capsys.readouterr() == ("", f"error: importing 'hostile_ends' {ENDS[end]}\n")


def test_an_interrupt_shows_what_is_known_and_exits_130(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module("hostile_interrupt", "interrupts", "leaves")
    assert run("check", "hostile_interrupt", "--no-isolate") == 130
    out = capsys.readouterr().out
    assert "\nsound       pass " in out
    assert "not checked: interrupts - interrupted\nnot checked: leaves - interrupted\n" in out
    assert run("check", "hostile_interrupt:interrupts") == 130
    assert run("fuzz", "hostile_interrupt:interrupts", "--examples", "3") == 130


@pytest.mark.thorough
def test_a_hang_and_a_crash_are_findings_and_the_others_are_checked(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module("hostile_end", "hangs", "aborts", "aborts_in_a_probe", "exits", "leaks")
    assert run("check", "hostile_end", "--timeout", "4", "--memory-limit", "100", "--json", "scan.json") == 1
    reports = json.loads(Path("scan.json").read_text(encoding="utf-8"))["reports"]
    found = {name: (r["verdict"], *(f["message"] for f in r["findings"])) for name, r in reports.items()}
    assert found["sound"] == ("pass",)
    assert found["hangs"] == ("fail", f"{GIVEN} took longer than 4 seconds")
    assert found["aborts"] == ("fail", f"{GIVEN} ended its process by signal 6 (SIGABRT)")
    assert found["aborts_in_a_probe"][0] == "fail"
    assert found["aborts_in_a_probe"][1].startswith("the backward of a call that the probe ")
    assert found["leaks"] == ("fail", f"{GIVEN} took more than 100 MiB of memory")
    assert all(r["reproduce"] == f"gradcheck-lab check hostile_end:{name} --seed 0" for name, r in reports.items())
    assert found["exits"] == ("fail", "backward raised SystemExit")
    assert capsys.readouterr().out.splitlines()[-1] == "hostile_end: 6 checked (1 pass, 5 fail)"


@pytest.mark.thorough
def test_fuzz_of_a_module_survives_hangs_crashes_and_leaks(library: Path) -> None:
    module("hostile_fuzz", "hangs", "leaves", "leaks", "aborts_in_a_probe")
    limits = ("--timeout", "10", "--memory-limit", "100")
    assert run("fuzz", "hostile_fuzz", "--examples", "30", *limits, "--json", "fuzz.json") == 1
    reports = json.loads(Path("fuzz.json").read_text(encoding="utf-8"))["reports"]
    causes = {name: [finding["cause"] for finding in report["findings"]] for name, report in reports.items()}
    assert causes.pop("sound") == []
    assert causes == {
        "hangs": ["timed-out"], "leaves": ["crashed"], "leaks": ["memory-exceeded"], "aborts_in_a_probe": ["crashed"],
    }  # fmt: skip


TESTS = """
import torch
import gradcheck_lab as gl
from gradcheck_lab import ops

def test_right(gradcheck):
    gradcheck(ops.relu, torch.ones(2, 3))

def test_wrong(gradcheck):
    gradcheck(gl.Op(lambda x: x * x, lambda g, y, x: (g * x,)), torch.ones(2, 3))
"""
UNWRITABLE = ["/dev/full", "/proc/x", "folder", "no/such/folder/x.json", "x" * 300]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("path", UNWRITABLE, ids=ascii)
def test_an_unwritable_file_is_one_line_and_exit_2(path: str, library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    module("hostile_file")
    assert run("check", "hostile_file:sound", "--json", path) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: cannot write ")
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_an_unwritable_report_does_not_abort_pytest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    for path in ("/proc/x.json", "/proc/x.html"):
        result = pytester.runpytest("--gradcheck-report", path, "--gradcheck-save-failures", "/proc/x")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["*saved: not, since *", f"the report could not be written to {path}: *"])
    result = pytester.runpytest("--gradcheck-report", "/proc/x.json", "-k", "right")
    result.assert_outcomes(passed=1, deselected=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_exit_is_only_held_in_the_process_itself() -> None:
    leave = os._exit
    with misuse_exits():
        assert os._exit is not leave
        with pytest.raises(SystemExit):
            os._exit(3)
    assert os._exit is leave
