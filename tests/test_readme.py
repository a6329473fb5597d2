"""Every Python example in README.md and docs/ runs and prints what is shown; the commands are as promised."""

import re
import sys
import textwrap
import traceback
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.lanes import seed_of

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
CONVENTIONS = ROOT / "docs" / "conventions.md"  # run by tests/test_conventions.py
COURSE = sorted((ROOT / "docs" / "course").glob("*.md"))
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted({*(ROOT / "docs").glob("*.md")} - {CONVENTIONS}), *COURSE]
FENCED = re.compile(r"^(?P<indent> *)```(?P<language>.*)\n(?P<text>(?:.*\n)*?)(?P=indent)``` *$", re.MULTILINE)
COMMAND = re.compile(r"^<!-- command: (?P<name>.+) -->\n```bash\n(?P<line>.+)\n```$", re.MULTILINE)
ROUNDING = re.compile(r"(float\d+ +pass +)\d\.\de-\d\d +[\d.e-]+$", re.MULTILINE)
SENSITIVITY = re.compile(r"(would have caught a relative error of )\S+ in any one element \(least: .*?\)")
NEEDS = {"triton.md": "triton"}  # the extra that the examples of a page need
SECONDS = re.compile(r"\b\d+(?:\.\d+)?(?:e[+-]?\d+)? ?(?:[mµn]?s|seconds?)\b")


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    text: str
    line: int  # of the first line of text, counted from 1


def blocks_of(markdown: str) -> list[Block]:
    return [
        Block(
            found["language"].strip(),
            textwrap.dedent(found["text"]),
            markdown.count("\n", 0, found.start("text")) + 1,
        )
        for found in FENCED.finditer(markdown)
    ]


def examples_of(markdown: str) -> list[tuple[Block, Block | None]]:
    """Each Python block, with the text block that comes next in the file, which shows what it prints."""
    return [
        (block, following if following and following.language == "text" else None)
        for block, following in pairwise([*blocks_of(markdown), None])
        if block is not None and block.language.startswith("py")
    ]


def normalised(text: str) -> str:
    """The text without seconds, and without the rounding of right gradients, which is another on every kind of machine."""
    for pattern in (ROUNDING, SENSITIVITY):
        text = pattern.sub(r"\1<rounding>", text)
    lines = SECONDS.sub("<seconds>", text).replace(f"{ROOT}/", "").strip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def run(block: Block, path: Path, namespace: dict[str, object], raises: bool) -> None:
    """Execute a block; where its output is shown, an exception prints its last lines, as Python would."""
    padding = "\n" * (block.line - 1)  # tracebacks and inspect then show the document's own lines
    code = compile(padding + block.text, str(path), "exec", dont_inherit=True)
    try:
        exec(code, namespace)
    except Exception as error:
        if not raises:
            raise
        print("".join(traceback.format_exception_only(error)))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_examples_run_and_print_what_is_shown(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if path.name in NEEDS:
        extra = NEEDS[path.name]
        pytest.importorskip(extra, reason=f"needs {extra}: pip install 'gradcheck_lab[{extra}]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    module = ModuleType(f"{path.stem}_examples")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.manual_seed(seed_of(0))  # what an example draws without a seed is the same in every run of the usual lane
    for block, shown in examples_of(path.read_text(encoding="utf-8")):
        capsys.readouterr()
        run(block, path, module.__dict__, raises=shown is not None)
        if shown is not None:
            printed = capsys.readouterr().out
            assert normalised(printed) == normalised(shown.text), f"{path.name}:{shown.line}"


def test_the_course_lists_its_chapters_in_their_order() -> None:
    index, *chapters = sorted(COURSE, key=lambda path: path.name != "index.md")
    linked = re.findall(r"^\d+\. \[.+\]\((.+)\)", index.read_text(encoding="utf-8"), re.MULTILINE)
    assert linked == [path.name for path in chapters]
    for number, path in enumerate(chapters, 1):
        assert path.read_text(encoding="utf-8").startswith(f"# {number}. ")


def test_readme_shows_an_example_with_its_output() -> None:
    assert any(shown for _, shown in examples_of(README.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_fences_are_all_seen(path: Path) -> None:
    markdown = path.read_text(encoding="utf-8")
    assert 2 * len(blocks_of(markdown)) == len(re.findall(r"^[ >]*(?:```|~~~)", markdown, re.MULTILINE))


@pytest.mark.parametrize(("name", "extra", "program"), [("demo", "demo", "gradcheck-lab demo"), ("test", "test", "pytest")])
def test_readme_command_is_one_line_that_sets_itself_up(name: str, extra: str, program: str) -> None:
    commands = COMMAND.finditer(README.read_text(encoding="utf-8"))
    lines = [found["line"] for found in commands if found["name"] == name]
    setup = f"python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[{extra}]' && "
    assert len(lines) == 1
    assert lines[0].startswith(f"{setup}.venv/bin/{program}")


def test_readme_has_no_other_command_marker() -> None:
    names = re.findall(r"<!-- command: (.*?) -->", README.read_text(encoding="utf-8"))
    assert sorted(names) == ["demo", "test"]


def test_normalised_forgets_durations_and_keeps_numbers() -> None:
    printed = "took 0.12 s \nmax 3e-16, 12 of 12, 5 steps\n"
    assert normalised(printed) == "took <seconds>\nmax 3e-16, 12 of 12, 5 steps"


def test_examples_pairs_a_block_with_the_text_that_follows_it() -> None:
    markdown = "```python\nx = 1\n```\n```python\nprint(x)\n```\n\n```text\n1\n```\n```text\nother\n```\n"
    shown = [text and text.text for _, text in examples_of(markdown)]
    assert shown == [None, "1\n"]
