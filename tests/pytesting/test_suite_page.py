"""The page on test suites: its tests run as they stand there, and the run ends as it shows."""

import re
from pathlib import Path

import pytest
from hypothesis import settings

from tests.pytesting import suite

pytest_plugins = ["pytester"]

PROFILE = """
from hypothesis import settings
settings.register_profile("readme", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("readme")
"""
PAGE = Path(__file__).parents[2] / "docs" / "test_suite.md"


def page() -> str:
    """The page's text."""
    return PAGE.read_text(encoding="utf-8")


def shown() -> list[str]:
    """The lines that the page shows of a run, without the command."""
    (block,) = re.findall(r"```console\n(.*?)```", page(), re.DOTALL)
    return [line for line in block.splitlines() if not line.startswith("$")]


def rows(lines: list[str]) -> list[list[str]]:
    """The cells of a table that depend neither on what was drawn nor on how many probes there are."""
    table = [re.split(r"\s{2,}", line.strip()) for line in lines]
    return [[*row[:2], *row[3:-2]] for row in table]


def test_page_is_a_test_file_that_passes_and_ends_as_shown(pytester: pytest.Pytester) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page(), re.DOTALL)
    assert len(blocks) >= 3
    pytester.makeconftest(PROFILE)
    test_file = pytester.makepyfile("import torch\ntorch.manual_seed(0)\n" + "\n\n".join(blocks))
    before = settings.get_current_profile_name()
    try:
        result = pytester.runpytest("-p", "no:cacheprovider", "-rN", "-v", str(test_file))
    finally:
        settings.load_profile(before)
    assert result.ret == pytest.ExitCode.OK
    names = {line.split()[0].partition("::")[2] for line in result.outlines if "%]" in line}
    assert {"test_linear", "test_cross_entropy", "test_straight_through[float32]"} <= names
    assert "test_promises[relu-upstream_layout]" in names
    start = next(i for i, line in enumerate(result.outlines) if line.startswith("op  "))
    found = result.outlines[start : start + len(shown())]
    assert rows(found[:-1]) == rows(shown()[:-1])
    assert found[-1] == shown()[-1]


def test_every_option_is_listed() -> None:
    source = Path(str(suite.pytesting.__file__)).with_name("options.py").read_text(encoding="utf-8")
    options = set(re.findall(r'"(--gradcheck-[a-z-]+)"', source))
    assert options == set(re.findall(r"--gradcheck-[a-z-]+[a-z]", page()))
