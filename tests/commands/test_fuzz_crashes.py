"""`gradcheck-lab fuzz` of ops that end their process: each is named, and every other op keeps its report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import gradcheck_lab as gl
from gradcheck_lab.commands.cli import main
from gradcheck_lab.commands.fuzz import fuzz_targets
from gradcheck_lab.commands.fuzz_jobs import Job
from tests.lanes import thorough

LIBRARY = """
import ctypes, os, sys, time
from gradcheck_lab import Op
from gradcheck_lab.specs import real

def doubled(name, act):
    def backward(grad_output, output, x):
        act(grad_output)
        return (2 * grad_output,)
    return Op(lambda x: 2 * x, backward, name=name, specs=(real("*b d"),))

def expanded(grad_output):
    if grad_output.numel() > 1 and 0 in grad_output.stride():
        os.abort()

def once(grad_output):
    try:
        os.close(os.open("once", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.abort()

def slow(grad_output):
    open("begun", "w").close()
    time.sleep(0.05)
"""
ENDINGS = {
    "aborts": ("lambda g: os.abort()", "ended its process by signal 6 (SIGABRT)"),
    "leaves": ("lambda g: os._exit(3)", "ended its process with exit code 3"),
    "reads_null": ("lambda g: ctypes.string_at(0)", "ended its process by signal 11 (SIGSEGV)"),
}
OTHERS = {"sound": "lambda g: None", "probed": "expanded", "wrong": "lambda g: g.mul_(1.5)"}


def endings() -> list[str]:
    """Without the second signal in README's command; tests/workers/test_pool.py has both in either lane."""
    return [name for name in ENDINGS if thorough() or name != "reads_null"]


def write_module(name: str, **acts: str) -> None:
    lines = [f"{op} = doubled({op!r}, {act})" for op, act in acts.items()]
    Path(f"{name}.py").write_text("\n".join([LIBRARY, *lines, ""]), encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory to put modules in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The JSON of a module of which most ops end their process, its exit code and what was printed beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("crashes"))
        acts = {name: ENDINGS[name][0] for name in endings()}
        write_module("crashlib", sound=OTHERS["sound"], **acts, probed=OTHERS["probed"], wrong=OTHERS["wrong"])
        command = [sys.executable, "-m", "gradcheck_lab", "fuzz", "crashlib", "--jobs", "2", "--examples", "9"]
        command += ["--json", "run.json", "--save", "cases"]
        paths = os.pathsep.join([str(Path(gl.__file__).parents[1]), "."])
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1"}, capture_output=True, text=True, check=False
        )
        data = json.loads(Path("run.json").read_text(encoding="utf-8"))
        yield {**data, "code": done.returncode, "out": done.stdout, "err": done.stderr}


def test_run_fails_and_counts_every_op(fuzzed: dict[str, Any]) -> None:
    assert (fuzzed["code"], fuzzed["verdict"]) == (1, "fail"), fuzzed["err"]
    assert list(fuzzed["reports"]) == ["sound", *endings(), "probed", "wrong"]
    assert fuzzed["out"].splitlines()[-1].endswith(f" examples: 1 pass, {len(endings()) + 2} fail")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.thorough] if name == "reads_null" else []) for name in ENDINGS]
)
def test_op_that_ends_its_process_is_named_with_its_call(name: str, fuzzed: dict[str, Any]) -> None:
    report = fuzzed["reports"][name]
    (finding,) = report["findings"]
    message = f"the call on x: float64[5, 3] {ENDINGS[name][1]}"
    assert (report["verdict"], report["subject"], report["kind"]) == ("fail", name, "op")
    assert (finding["cause"], finding["severity"], finding["message"]) == ("crashed", "error", message)
    assert report["failing_case"]["words"] == "x: float64[5, 3]"
    assert report["reproduce"].startswith(f"gradcheck-lab replay {Path('cases') / name}-")
    assert f"{name}: {message}\n  cause: crashed - " in fuzzed["out"]
    assert re.fullmatch(r"\w+\.py:7", finding["location"])
    assert gl.Report.from_dict(report).to_dict() == report


def test_call_of_a_probe_that_ends_its_process_is_told_apart(fuzzed: dict[str, Any]) -> None:
    report = fuzzed["reports"]["probed"]
    assert [finding["message"] for finding in report["findings"]] == [
        "a call that a probe made of the one on x: float64[5, 3] ended its process by signal 6 (SIGABRT)"
    ]
    assert report["examples"] == 9
    assert report["failing_case"] is None
    assert report["reproduce"] == "gradcheck-lab fuzz crashlib:probed --examples 9 --seed 0"


def test_other_ops_keep_their_reports(fuzzed: dict[str, Any]) -> None:
    sound, wrong = fuzzed["reports"]["sound"], fuzzed["reports"]["wrong"]
    assert (sound["verdict"], sound["examples"]) == ("pass", 9)
    assert [row["verdict"] for row in wrong["gradients"]] == ["fail"]
    assert "crashed" not in {finding["cause"] for finding in wrong["findings"]}


def test_part_of_a_divided_object_that_crashes_leaves_the_others_counts(here: Path) -> None:
    write_module("oncelib", op="once")
    fuzzed = fuzz_targets(Job("oncelib:op", 30, 0, 0, folder=here), 2, lambda name, examples, wrong: None)
    report = fuzzed.reports["op"]
    assert [finding.cause for finding in report.findings] == ["crashed"]
    assert (report.verdict, fuzzed.interrupted) == ("fail", False)
    assert 15 <= report.examples < 30


def test_one_call_in_two_processes_is_still_apart(here: Path) -> None:
    write_module("onelib", op=ENDINGS["aborts"][0])
    fuzzed = fuzz_targets(Job("onelib:op", 1, 0, 0, folder=here), 2, lambda name, examples, wrong: None)
    assert [finding.cause for finding in fuzzed.reports["op"].findings] == ["crashed"]


@pytest.mark.usefixtures("here")
def test_exit_in_this_process_is_the_ops_failure(capsys: pytest.CaptureFixture[str]) -> None:
    acts = {"by_sys": "lambda g: sys.exit(0)", "by_os": "lambda g: os._exit(0)"}
    write_module("exitlib", **acts, sound=OTHERS["sound"])
    assert run("fuzz", "exitlib", "--examples", "2", "--no-isolate") == 1
    out = capsys.readouterr().out
    for name in acts:
        assert f"{name}: backward raised SystemExit\n  cause: raises - 0\n" in out
    assert "sound: pass - " in out


def living(group: int) -> list[str]:
    """The processes of a group that have not ended; zombies have."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = path.read_text(encoding="utf-8").rpartition(")")
            state, _, of_group = rest.split()[:3]
            found += [name] if int(of_group) == group and state != "Z" else []
    return found


def hears_ctrl_c() -> None:
    """Undo what a shell does to the processes that it starts in the background: these ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.usefixtures("here")
def test_interrupt_from_a_terminal_ends_all_processes_in_silence() -> None:
    write_module("slowlib", slow="slow")
    command = [sys.executable, "-m", "gradcheck_lab", "fuzz", "slowlib:slow", "--jobs", "2", "--examples", "100000"]
    paths = os.pathsep.join([str(Path(gl.__file__).parents[1]), "."])
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, preexec_fn=hears_ctrl_c,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not Path("begun").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out.endswith(": 1 inconclusive; interrupted\n")
    assert "Traceback" not in err
    until = time.monotonic() + 10
    while living(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert living(process.pid) == []
