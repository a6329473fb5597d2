"""Nothing in the process of a candidate tells it from an ordinary run, and nothing of the task can be found from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gradcheck_lab as gl
from tests.judging.written import candidate_in, task_in

SPY = """
import json, os, sys, threading

def look():
    frames, frame = [], sys._getframe()
    while frame is not None:
        frames.append([frame.f_code.co_filename, frame.f_code.co_name, frame.f_globals.get("__name__")])
        frame = frame.f_back
    pid, ancestors = os.getpid(), []
    while pid > 1:
        with open(f"/proc/{{pid}}/cmdline") as file:
            ancestors.append(file.read())
        with open(f"/proc/{{pid}}/stat") as file:
            pid = int(file.read().rsplit(")", 1)[1].split()[1])
    with open("/proc/self/environ") as file:
        environ = file.read()
    links = [f"/proc/self/fd/{{n}}" for n in os.listdir("/proc/self/fd")]
    seen = {{
        "modules": sorted(sys.modules), "arguments": sys.argv, "variables": dict(os.environ), "environ": environ,
        "folder": os.getcwd(), "frames": frames, "ancestors": ancestors, "threads": [t.name for t in threading.enumerate()],
        "beside": os.listdir(os.path.dirname(__file__)),
        "open": [os.readlink(link) for link in links if os.path.exists(link)],
    }}
    with open({path!r}, "a") as file:
        file.write(json.dumps(seen) + "\\n")

look()

def candidate(x, weight, eps):
    look()
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a candidate sees when it is imported, and in each call."""
    folder = tmp_path_factory.mktemp("files")
    found = folder / "seen.jsonl"
    report = gl.judge(task_in(folder), candidate_in(folder, SPY.format(path=str(found))), examples=3)
    assert report.verdict == "pass", report.message
    return [json.loads(line) for line in found.read_text().splitlines()]


def test_no_module_is_of_this_library_or_of_pytest(seen: list[dict[str, Any]]) -> None:
    names = {name.partition(".")[0] for each in seen for name in each["modules"]}
    assert names.isdisjoint({"gradcheck_lab", "pytest", "_pytest", "hypothesis", "pebble", "root_mean_square", "assignment"})
    assert "torch" in names


@pytest.mark.parametrize("where", ["arguments", "variables", "environ", "folder", "frames", "ancestors", "threads", "open"])
def test_nothing_names_the_tool_or_the_task(seen: list[dict[str, Any]], where: str) -> None:
    interpreter = json.dumps([each["ancestors"][0].split("\0")[0] for each in seen[:1]])[2:-2]
    for each in seen:
        text = json.dumps(each[where]).replace(interpreter, "")
        if where in ("variables", "environ"):  # folders of the user's own installation may have any name
            text = json.dumps({name: "" for name in each["variables"]})
        for name in ("gradcheck", "pytest", "judg", "assignment", "root_mean_square", "reference"):
            assert name not in text.lower(), text


def test_the_candidate_is_alone_in_its_folder(seen: list[dict[str, Any]]) -> None:
    assert {tuple(name for name in each["beside"] if name != "__pycache__") for each in seen} == {("answer.py",)}
    assert all(Path(each["folder"]).name not in ("assignment", "files") for each in seen)
