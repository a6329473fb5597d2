"""Case files from strangers: each kind of attack with its message, damage at random, and that nothing is imported or run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.commands.replay import library_ops, replay_case
from gradcheck_lab.fuzzing.portable import SavedCase, read, write
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.rules.op import Op
from gradcheck_lab.strategies import load
from tests.command_line import exit_code
from tests.fuzzing.attacks import ATTACKS, TEXT, at
from tests.lanes import examples
from tests.strangers import CALL, CASE, changed, damaged, damaged_text, places

EVIL = """
import pathlib
pathlib.Path(__file__).with_name("owned").write_text("imported")
def op(*arguments, **options):
    pathlib.Path(__file__).with_name("owned").write_text("called")
loss = exact = op
"""
# what Python reports to audit hooks when code is found, made or started
RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class", "exec", "compile")
_recorded: list[list[str]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _recorded and (event in RUNS or (event == "import" and str(arguments[0]).startswith("evil"))):
        _recorded[-1].append(f"{event} {arguments[:1]}")


sys.addaudithook(_audit)  # it cannot be removed, so it does nothing but within `recorded`


@contextmanager
def recorded() -> Iterator[list[str]]:
    """What is run or imported within the block."""
    _recorded.append([])
    try:
        yield _recorded[-1]
    finally:
        _recorded.pop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, on the import path, with a module that leaves a trace when it is imported."""
    (tmp_path / "evil.py").write_text(EVIL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    assert not (tmp_path / "owned").exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_one_line_and_exit_2(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, message = ATTACKS[name]
    (folder / "case.json").write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    assert exit_code("replay", "case.json") == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert message.isprintable()
    with recorded() as seen, pytest.raises(gl.InvalidArgument):
        replay_case("case.json")
    assert not seen


PLACES: dict[str, tuple[Callable[[], str], str]] = {
    "folder": (lambda: ".", "'.' is a folder"),
    "endless-device": (lambda: "/dev/zero", "'/dev/zero' is no ordinary file"),
    "null-device": (lambda: os.devnull, "'/dev/null' is no ordinary file"),
    "pipe-without-a-writer": (lambda: os.mkfifo("pipe") or "pipe", "'pipe' is no ordinary file"),
    "link-to-a-device": (lambda: os.symlink("/dev/zero", "link") or "link", "'link' is no ordinary file"),
    "link-to-itself": (
        lambda: os.symlink("loop", "loop") or "loop",
        "cannot read 'loop': Too many levels of symbolic links",
    ),
    "no-file": (lambda: "absent\x1b[2J", r"cannot read 'absent\x1b[2J': No such file or directory"),
    "long-name": (lambda: "x" * 300, f"cannot read '{'x' * 156}...: File name too long"),
    "nul": (lambda: "case\0.json", r"'case\x00.json' names no file"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="devices, pipes and links are those of POSIX")
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.usefixtures("folder")
def test_what_is_no_file_is_refused_and_not_waited_for(name: str) -> None:
    place, message = PLACES[name]
    path = place()
    for reader in (read, load):
        with pytest.raises(gl.InvalidArgument) as error:
            reader(path)
        assert str(error.value) == f"{message}; name a file that gl.fuzz saved"


UNFIT: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown-option": ("relu", {"args": ["id"]}, "gradcheck_lab.ops:relu has no option 'args'; it accepts none"),
    "input-as-an-option": ("relu", {"x": 1}, "gradcheck_lab.ops:relu has no option 'x'; it accepts none"),
    "option-of-another-type": (
        "norm",
        {"p": {"a": [1]}},
        "looking at the Op and its inputs raised TypeError: '>=' not supported between instances of 'dict' and 'int'; "
        "pass inputs and options of the kinds that it takes",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_option_that_an_op_of_ours_does_not_take_is_refused(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    op, options, message = UNFIT[name]
    data = at("target", value=f"gradcheck_lab.ops:{op}") | {"reference": None, "allow": [], "inputs": CASE["inputs"][:1]}
    (folder / "case.json").write_text(json.dumps(data | {"options": options}), encoding="utf-8")
    assert exit_code("replay", "case.json") == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_ops_of_ours_are_replayed_without_a_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = replace(CALL, tensors=CALL.tensors[:1], options={})
    for target in ("gradcheck_lab.ops:relu", "gradcheck_lab.ops.activations:relu"):
        write(SavedCase(call, "relu", target), folder / "case.json")
        assert exit_code("replay", "case.json") == 0
        assert capsys.readouterr().out.startswith("relu: pass - ")
    write(SavedCase(call, "relu", "gradcheck_lab.ops:relu", "gradcheck_lab.ops:relu"), folder / "case.json")
    assert exit_code("replay", "case.json") == 0


def test_library_ops_are_ops_and_what_the_package_has_under_their_name() -> None:
    for target, op in library_ops().items():
        module, _, name = target.partition(":")
        assert isinstance(op, Op)
        assert getattr(sys.modules[module], name) is op


@pytest.mark.usefixtures("folder")
def test_name_of_the_user_counts_and_not_that_of_the_file() -> None:
    call = replace(CALL, tensors=CALL.tensors[:1], options={})
    write(SavedCase(call, "loss", "evil:loss", "evil:exact"), "case.json")
    arguments = ("gradcheck_lab.ops:relu", "--reference", "gradcheck_lab.ops:relu", "--json", "report.json")
    assert exit_code("replay", "case.json", *arguments) == 0
    report = gl.Report.from_dict(json.loads(Path("report.json").read_text(encoding="utf-8")))
    assert report.reproduce == ("gradcheck-lab replay case.json gradcheck_lab.ops:relu --reference gradcheck_lab.ops:relu")


def test_code_that_runs_would_be_seen() -> None:
    with recorded() as seen:
        exec("1")
        with pytest.raises(ImportError):
            __import__("evil_of_nobody")
    assert [each.partition(" ")[0] for each in seen] == ["compile", "exec", "import"]


def refused_or_whole(path: Path) -> None:
    """A damaged file is refused in one printable line, or is a case whose tensors can be built."""
    saved = refusal = None
    try:
        saved = read(path)
    except gl.InvalidArgument as error:
        refusal = str(error)
    if saved is None:
        assert refusal
        assert refusal.isprintable()
        return
    assert saved.order in (1, 2)
    again = SavedCase.from_dict(json.loads(json.dumps(saved.to_dict(), allow_nan=False)))
    assert repr(again.call.options) == repr(saved.call.options)
    if saved.call.elements < 10_000:
        built = load(path).inputs
        assert [tuple(value.shape) for value in built] == [tensor.shape for tensor in saved.call.tensors]
        assert all(bool(value.isfinite().all()) for value in built)


@examples(150)
@given(damaged(CASE))
def test_damaged_data_are_refused_or_whole(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    refused_or_whole(path)


@examples(150)
@given(damaged_text(TEXT) | st.binary(max_size=64))
def test_damaged_bytes_are_refused_or_whole(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(data)
    refused_or_whole(path)


@pytest.mark.parametrize("place", [*places(CASE)], ids=lambda place: ".".join(map(str, place)))
def test_entry_of_no_type_that_it_has_is_refused(place: tuple[Any, ...], tmp_path: Path) -> None:
    def reads(value: Any) -> bool:
        path.write_text(json.dumps(changed(CASE, place, value)), encoding="utf-8")
        try:
            read(path)
        except gl.InvalidArgument:
            return False
        return True

    path = tmp_path / "case.json"
    kinds = {type(value).__name__ for value in (None, True, 3, 0.5, "evil", [[1]], {"a": 1}) if reads(value)}
    allowed: set[str] = {
        "subject": {"str"}, "finding": {"str"}, "words": {"str"}, "python": {"str"}, "target": {"NoneType"},
        "reference": {"NoneType"}, "seed": {"int"}, "made_with": {"int"}, "low": set(), "high": {"int"}, "options": {"dict"},
    }.get(str(place[-1]), set())  # fmt: skip
    if place[0] == "options" and len(place) > 1:
        allowed = {"NoneType", "bool", "int", "float", "str", "list", "dict"}
    if place[-2:] in (("shape", 1), ("shape", 0)):
        allowed = {"int"} if place[1:] in ((0, "shape", 1), (1, "shape", 0)) else set()  # elsewhere 3 is no size of its values
    if "values" in place and place[-1] != "values":
        allowed = {"int", "float"} if place[1] == 0 else {"bool"}
    assert kinds == allowed


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b\0c", "..", "", "\ud800\u202e", "x" * 300, "-rf", "two\nlines"])
def test_saved_case_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "cases"
    wrong = Op(torch.relu, lambda grad_output, output, x: (2 * grad_output,), name=name, specs=ops.relu.specs)
    report = FuzzRun(wrong, (), max_examples=3, folder=folder).run()
    assert report.failing_case is not None
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert path.parent == folder
    assert path.name.isprintable()
    assert not path.name.startswith((".", "-"))
    assert read(path).subject == wrong.name


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_saved_case_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "case.json"
    other.write_text("keep", encoding="utf-8")
    path.symlink_to(other)
    write(SavedCase(CALL, "loss"), path)
    assert other.read_text(encoding="utf-8") == "keep"
    assert read(path).subject == "loss"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["case.json", "other"]
