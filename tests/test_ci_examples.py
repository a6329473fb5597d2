"""The files of `examples/ci/` can be read, are those that docs/in_ci.md shows, and name options that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gradcheck_lab.commands.cli import app
from gradcheck_lab.pytesting.options import add_options

yaml = pytest.importorskip("yaml", reason="needs PyYAML, of the extra 'test'")

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "examples" / "ci").iterdir())
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in FILES}
DATA = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
PAGE = (ROOT / "docs" / "in_ci.md").read_text(encoding="utf-8")


def lines_of(node: Any) -> Iterator[str]:
    """Every command of a file: what `run` and `entry` say."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("run", "entry") and isinstance(value, str):
                yield from value.splitlines()
            else:
                yield from lines_of(value)
    elif isinstance(node, list):
        for each in node:
            yield from lines_of(each)


COMMANDS = [
    re.sub(r"\$\{\{.*?\}\}", "7", line).replace("$SECONDS_EACH", "7") for data in DATA.values() for line in lines_of(data)
]


def parse(line: str) -> None:
    """Parse the arguments of our command as the command line does, without running it."""
    program, name, *arguments = shlex.split(line)
    assert program == "gradcheck-lab"
    commands: Any = typer.main.get_command(app)
    commands.commands[name].make_context(name, arguments)


def test_files_are_those_that_the_page_shows() -> None:
    shown = [found[1] for found in re.finditer(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
    assert sorted(shown) == sorted(TEXTS.values())


def test_every_line_is_a_command_that_is_known() -> None:
    assert {line.split()[0] for line in COMMANDS} == {"python", "gradcheck-lab", "pytest"}


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("gradcheck-lab")])
def test_our_commands_have_the_options_that_they_are_given(line: str) -> None:
    parse(line)


@pytest.mark.parametrize("line", ["gradcheck-lab check a.py --no-such-option", "gradcheck-lab check --timeout often a.py"])
def test_a_command_with_another_option_would_fail(line: str) -> None:
    with pytest.raises(Exception, match=r"No such option|valid number"):
        parse(line)


def test_options_of_the_plugin_are_declared(pytestconfig: pytest.Config) -> None:
    declared: set[str] = set()

    class Parser:
        def getgroup(self, *_: str) -> Any:
            return self

        def addoption(self, name: str, **_: Any) -> None:
            declared.add(name)

        def addini(self, *_: str, **__: Any) -> None:
            pass

    add_options(Parser())  # type: ignore[arg-type]
    named = {word.partition("=")[0] for line in COMMANDS for word in line.split() if word.startswith("--gradcheck-")}
    assert "--gradcheck-report" in named
    assert named <= declared


def test_action_is_composite_and_its_steps_say_their_shell() -> None:
    action = DATA["action.yml"]
    assert action["runs"]["using"] == "composite"
    assert all(("run" in step) == ("shell" in step) for step in action["runs"]["steps"])
    named = set(re.findall(r"inputs\.(\w+)", TEXTS["action.yml"]))
    assert named == set(action["inputs"])


def test_workflow_uses_the_action_with_inputs_that_it_has() -> None:
    steps = [step for job in DATA["workflow.yml"]["jobs"].values() for step in job["steps"]]
    (own,) = [step for step in steps if step.get("uses", "").startswith("./")]
    assert set(own["with"]) <= set(DATA["action.yml"]["inputs"])


def test_hook_has_what_pre_commit_needs() -> None:
    (repo,) = DATA["pre-commit-config.yaml"]["repos"]
    (hook,) = repo["hooks"]
    assert repo["repo"] == "local"
    assert {"id", "name", "entry", "language"} <= set(hook)
    assert re.search(hook["files"], "src/layers/dense.py")
    assert not re.search(hook["files"], "src/other.py")
