"""A case depends on what the rule says: it is planned anew where one of these files changes, and not where another does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gradcheck_lab.campaigns import sources
from gradcheck_lab.campaigns.sources import Source, refuse_changed, versions_of
from gradcheck_lab.commands.campaign_cases import Axes, Planned, plan_cases
from gradcheck_lab.errors import InvalidArgument
from tests.campaigns.checks import OPS

# files of a project, and whether the ops of subject/layers.py depend on them
PROJECT = {
    "subject/__init__.py": ("", True),
    "subject/layers.py": (f"import helper\nfrom . import near\nfrom .deep.inner import c\n{OPS}\nf = times(c, 'f')\n", True),
    "subject/near.py": ("def late():\n    from subject.lazy import value\n    return value\n", True),
    "subject/lazy.py": ("import far.away\nvalue = 1\n", True),
    "subject/deep/__init__.py": ("", True),
    "subject/deep/inner.py": ("c = 2\n", True),
    "subject/kernels/fast.cu": ("// CUDA", True),
    "subject/other.py": ("", False),
    "helper.py": ("import json\n", True),
    "far/__init__.py": ("", True),
    "far/away.py": ("", True),
    "far/beside.py": ("", False),
    "stranger.py": ("import helper\n", False),
    "data/weights.txt": ("1 2 3", False),
    ".venv/pyvenv.cfg": ("", False),
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (text, _) in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))


def plan(*also: str) -> Planned:
    return plan_cases(["subject/layers.py"], Axes(also=also))


def changed(name: str, line: str = "# changed") -> None:
    path = Path(name)
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")


def test_files_of_the_plan_are_those_of_the_rule() -> None:
    assert sorted(plan().plan.files) == sorted(name for name, (_, needed) in PROJECT.items() if needed)


def test_case_whose_source_changes_is_another_and_the_old_plan_is_refused() -> None:
    before = plan()
    changed("far/away.py")
    with pytest.raises(InvalidArgument) as refused:
        refuse_changed(before.plan.files, before.plan.versions)
    assert str(refused.value) == "'far/away.py' has changed since the campaign was planned; run campaign plan again"
    assert plan().cases[0].key != before.cases[0].key


def test_digest_is_another_for_every_file_and_every_version_that_is_needed() -> None:
    versions = {"python": "3.11", "torch": "2.13", "numpy": "2", "gradcheck_lab": "1", "scipy": "1", "unused": "1"}
    source = Source({"a.py": "1", "b.py": "2"}, ("scipy",))
    digests = {source.digest({**versions, name: "other"}) for name in versions if name != "unused"}
    digests |= {Source({**source.files, name: "3"}, source.installed).digest(versions) for name in ("a.py", "b.py", "c.py")}
    assert len(digests | {source.digest(versions)}) == 9
    assert source.digest({**versions, "unused": "other"}) == source.digest(versions)


def test_change_of_what_is_not_needed_leaves_the_case_as_it_was() -> None:
    before = plan()
    changed("stranger.py")
    changed("subject/other.py")
    refuse_changed(before.plan.files, before.plan.versions)
    assert plan().cases == before.cases


@pytest.mark.parametrize(
    "code",
    ["import importlib", "__import__('x')", "exec('import x')", "eval('1')", "from runpy import run_path", "a.import_module()"],
)
def test_code_that_imports_by_other_means_is_seen(code: str) -> None:
    path = Path("subject/near.py")
    path.write_text(f"def late(a, b):\n    {code}\n", encoding="utf-8")
    assert sources._imports(path)[1]


def test_usual_code_is_not_taken_for_such() -> None:
    path = Path("subject/near.py")
    path.write_text("import re, torch\ndef f(model):\n    model.eval()\n    return re.compile('a'), torch.compile(model)\n")
    assert sources._imports(path) == ({"re", "torch"}, False)


def test_code_that_imports_by_other_means_depends_on_all_of_its_folder() -> None:
    changed("subject/near.py", "import importlib")
    found = plan().plan.files
    assert "subject/other.py" in found
    assert "stranger.py" not in found


def test_named_files_are_part_of_the_source() -> None:
    before = plan("data")
    assert "data/weights.txt" in before.plan.files
    changed("data/weights.txt")
    assert plan("data").cases[0].key != before.cases[0].key
    with pytest.raises(InvalidArgument) as refused:
        plan("weights")
    assert str(refused.value) == "there is no file or folder 'weights'; --source names what the code reads"


def test_another_version_is_another_case_and_the_old_plan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    before = plan()
    assert set(before.plan.versions) == {"python", "gradcheck_lab", "torch", "numpy"}
    now = versions_of(["torch", "numpy"])
    monkeypatch.setattr(sources, "_own_version", lambda: "0.2.0 of another time")
    with pytest.raises(InvalidArgument) as refused:
        refuse_changed(before.plan.files, before.plan.versions)
    was, now_is = now["gradcheck_lab"], "0.2.0 of another time"
    assert str(refused.value) == f"gradcheck_lab was {was} in the plan and is {now_is} here; run campaign plan again"
    assert plan().cases[0].key != before.cases[0].key


def test_file_that_is_gone_is_told() -> None:
    before = plan()
    Path("helper.py").unlink()
    with pytest.raises(InvalidArgument) as refused:
        refuse_changed(before.plan.files, before.plan.versions)
    assert str(refused.value) == "'helper.py' was there when the campaign was planned; run it in the folder of the plan"


def test_module_without_a_distribution_counts_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loose = tmp_path / "elsewhere" / "site-packages" / "loose.py"
    loose.parent.mkdir(parents=True)
    loose.write_text("value = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(loose.parent))
    near = Path("subject/near.py")
    near.write_text("import loose\n", encoding="utf-8")
    assert any(name.endswith("site-packages/loose.py") for name in plan().plan.files)
