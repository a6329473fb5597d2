"""The command `gradcheck-lab judge`: exit codes, a folder with a table and a line of JSON each, and a wrapped process."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

import gradcheck_lab as gl
from gradcheck_lab.commands.judge import judge_folder
from tests.command_line import exit_code
from tests.judging.written import SOUND, candidate_in, task_in

WRONG = "def candidate(x, weight, eps):\n    return x / x.square().mean(-1, keepdim=True).sqrt() * weight * 2\n"


def test_a_folder_gives_a_table_and_a_line_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = task_in(tmp_path)
    folder = tmp_path / "submissions"
    (folder / "carol").mkdir(parents=True)
    candidate_in(folder, SOUND, "alice")
    candidate_in(folder, WRONG, "bob")
    candidate_in(folder / "carol", "from helper import rms as candidate\n", "candidate")
    candidate_in(folder / "carol", SOUND.replace("candidate", "rms"), "helper")
    shutil.copy(task, folder / "assignment.py")
    lines = tmp_path / "results.jsonl"
    assert exit_code("judge", str(folder / "assignment.py"), str(folder), "--examples", "1", "--json", str(lines)) == 1
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["candidate", "verdict"], ["alice.py", "pass"], ["bob.py", "fail"], ["carol", "pass"], ["3", "judged:"]
    ]  # fmt: skip
    data = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(Path(each.pop("candidate")).name, each["verdict"]) for each in data] == [
        ("alice.py", "pass"), ("bob.py", "fail"), ("carol", "pass")
    ]  # fmt: skip
    assert all(gl.Report.from_dict(each).verdict == each["verdict"] for each in data)


def test_links_that_lead_nowhere_end_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "submissions"
    (folder / "dora").mkdir(parents=True)
    (folder / "alice.py").symlink_to(tmp_path / "nowhere.py")
    candidate_in(folder, "import nowhere", "bob")
    (folder / "dora" / "candidate.py").write_text("import nowhere", encoding="utf-8")
    (folder / "dora" / "data").symlink_to(tmp_path / "nowhere")
    assert exit_code("judge", str(task_in(tmp_path)), str(folder)) == 1
    lines = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert lines[1:3] == [["bob.py", "fail", "raises"], ["dora", "fail", "raises"]]


def test_a_candidate_whose_files_cannot_be_read_is_inconclusive_by_itself(tmp_path: Path) -> None:
    task, bad = task_in(tmp_path), candidate_in(tmp_path, "import nowhere")

    def judged(path: Path) -> gl.Report:
        path.read_text(encoding="utf-8")
        return gl.judge(task, path)

    reports, interrupted = judge_folder([tmp_path / "gone.py", bad], judged, None)
    assert [report["verdict"] for report in (each.to_dict() for each in reports.values())] == ["inconclusive", "fail"]
    assert reports["gone.py"].reasons[0].startswith("gone.py cannot be read: [Errno 2] No such file or directory: ")
    assert not interrupted


def test_the_folder_that_one_is_in_is_a_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = task_in(tmp_path)
    (tmp_path / "erin").mkdir()
    monkeypatch.chdir(candidate_in(tmp_path / "erin", "import nowhere", "candidate").parent)
    assert exit_code("judge", str(task), ".") == 1
    assert "importing erin raised ModuleNotFoundError" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "code"), [(SOUND, 0), (WRONG, 1)])
def test_the_exit_code_of_one_candidate(tmp_path: Path, text: str, code: int) -> None:
    assert exit_code("judge", str(task_in(tmp_path)), str(candidate_in(tmp_path, text)), "--examples", "1") == code


def test_misuse_exits_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("judge", str(tmp_path / "nowhere.py"), str(candidate_in(tmp_path))) == 2
    assert capsys.readouterr().err == f"error: there is no task file {tmp_path / 'nowhere.py'}\n"
    (tmp_path / "empty").mkdir()
    assert exit_code("judge", str(task_in(tmp_path)), str(tmp_path / "empty")) == 2
    assert "has no candidate: no Python file, no folder with a candidate.py" in capsys.readouterr().err


def test_a_task_that_takes_no_drawn_call_is_inconclusive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "from gradcheck_lab.specs import real\nspecs = (real('n d'),)\ndef reference(x):\n    assert x.shape == (5, 3)\n"
    task = task_in(tmp_path, f"{text}    return x.sin()\n")
    answer = candidate_in(tmp_path, "def candidate(x): return x.sin()")
    assert exit_code("judge", str(task), str(answer), "--examples", "1", "--seed", "1") == 3
    assert "the reference takes none of the drawn calls in float32" in capsys.readouterr().out


@pytest.mark.thorough
@pytest.mark.parametrize(("text", "verdict"), [(SOUND, "pass"), (WRONG, "fail")])
def test_any_program_may_wrap_the_process(tmp_path: Path, text: str, verdict: str) -> None:
    report = gl.judge(task_in(tmp_path), candidate_in(tmp_path, text), examples=1, command="env nice -n 1 {}")
    assert report.verdict == verdict, report.message


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap wraps the process here: apt install bubblewrap")
def test_bubblewrap_wraps_the_process(tmp_path: Path) -> None:
    """The example of docs/judge.md: no network, no other process to see, and no folder to write to."""
    spy = SOUND + f"\ntry:\n    open({str(tmp_path / 'written')!r}, 'w')\nexcept OSError:\n    pass\n"
    spy += "import os\nassert len([name for name in os.listdir('/proc') if name.isdigit()]) < 5\n"
    report = gl.judge(
        task_in(tmp_path), candidate_in(tmp_path, spy), examples=1,
        command="bwrap --ro-bind / / --dev /dev --proc /proc --unshare-pid --unshare-net {}",
    )  # fmt: skip
    assert report.verdict == "pass", report.message
    assert not (tmp_path / "written").exists()


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap wraps the process here: apt install bubblewrap")
@pytest.mark.parametrize(("mounted", "cause"), [(True, "forward-mismatch"), (False, "raises")])
def test_a_wrapper_has_to_show_the_folder_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: bool, cause: str
) -> None:
    """As a container does that has a disk of its own, and that folder mounted."""
    folder = tmp_path / "judged"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    shown = f"--ro-bind {folder} {folder}" if mounted else ""
    command = f"bwrap --ro-bind / / --tmpfs {tmp_path.parent} {shown} --dev /dev --proc /proc --unshare-pid {{}}"
    report = gl.judge(task_in(tmp_path), candidate_in(tmp_path, WRONG), examples=1, command=command)
    assert report.findings[0].cause == cause
