"""The command line: what it prints, its exit codes, and every misuse with its whole message."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gradcheck_lab import Report, ops
from gradcheck_lab.commands import check as checking
from gradcheck_lab.discovery import targets
from gradcheck_lab.errors import InvalidArgument
from tests.command_line import exit_code

LIBRARY = """
import torch
from gradcheck_lab import op, ops
from gradcheck_lab.specs import real

@op(real("n d"))
def double(x):
    return 2 * x

@double.backward
def double_backward(grad_output, output, x):
    return (4 * grad_output,)

def program(x, y):
    Z = ops.mul(x, y)
    return Z

half = 0.5
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with a module, a package, and modules that do not import."""
    files = {
        "mylib.py": LIBRARY,
        "mypkg/__init__.py": "",
        "mypkg/inner.py": "from gradcheck_lab.ops import relu",
        "needs.py": "import not_installed_anywhere",
        "raises.py": "1 / 0",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("mylib", "mypkg", "mypkg.inner", "needs", "raises"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("library")
def test_check_of_a_wrong_op_prints_the_report_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "mylib:double", "--seed", "7") == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "double: gradient of input 0 'x' is wrong in 15 of 15 elements"
    assert lines[2:6] == [
        "  cause: constant-factor - it is exactly 2 times the reference",
        "  fix: divide it by 2",
        "  backward: mylib.py:11",
        "  reproduce: gradcheck-lab check mylib:double --seed 7",
    ]


def test_check_of_a_right_op_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "gradcheck_lab.ops:linear") == 0
    assert capsys.readouterr().out.startswith("linear: pass - 3 gradients agree with ")


@pytest.mark.usefixtures("library")
def test_check_of_a_name_in_a_package_of_the_current_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "mypkg.inner:relu") == 0
    assert capsys.readouterr().out.startswith("relu: pass - 1 gradient agrees with ")


@pytest.mark.usefixtures("library")
def test_check_of_a_program_draws_from_the_given_specs(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    specs = ("--spec", "real('n d')", "--spec", "real('d')")
    assert exit_code("check", "mylib:program", *specs, "--seed", "5", "--json", str(path)) == 0
    report = Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert [gradient.shape for gradient in report.gradients] == [(5, 3), (3,)]
    assert report.seed == 5
    assert report.reproduce == (
        "gradcheck-lab check mylib:program --seed 5 --spec 'real('\"'\"'n d'\"'\"')' --spec 'real('\"'\"'d'\"'\"')'"
    )


def test_check_runs_in_the_given_dtype_with_the_given_options(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    arguments = ("--dtype", "float32", "--option", "reduction=none", "--json", str(path))
    assert exit_code("check", "gradcheck_lab.ops:mse_loss", *arguments) == 0
    report = Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert {gradient.dtype for gradient in report.gradients} == {"float32"}
    assert report.reproduce == (
        "gradcheck-lab check gradcheck_lab.ops:mse_loss --seed 0 --dtype float32 --option reduction=none"
    )


def test_check_of_second_derivatives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    assert exit_code("check", "gradcheck_lab.ops:mul", "--order", "2", "--json", str(path)) == 0
    report = Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert "d grad / d b" in {gradient.name for gradient in report.gradients}
    assert report.reproduce == "gradcheck-lab check gradcheck_lab.ops:mul --seed 0 --order 2"
    capsys.readouterr()
    assert exit_code("check", "gradcheck_lab.ops:mul", "--order", "3") == 2
    assert capsys.readouterr().err == "error: order is 3; pass 1 or 2\n"


WANTED = {
    "name": (("--wrt", "a"), ["a"], "--wrt a"),
    "position": (("--wrt", "1"), ["b"], "--wrt 1"),
    "several": (("--wrt", "a,b"), ["a", "b"], "--wrt a --wrt b"),
}


@pytest.mark.parametrize(("arguments", "names", "again"), WANTED.values(), ids=WANTED)
def test_check_of_the_wanted_gradients(arguments: tuple[str, ...], names: list[str], again: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert exit_code("check", "gradcheck_lab.ops:mul", *arguments, "--json", str(path)) == 0
    report = Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert [gradient.name for gradient in report.gradients] == names
    assert report.reproduce == f"gradcheck-lab check gradcheck_lab.ops:mul --seed 0 {again}"


@pytest.mark.usefixtures("library")
def test_check_with_the_cause_allowed_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "mylib:double", "--allow", "constant-factor") == 0
    assert "  note: gradient of input 0 'x' is right but for the allowed constant-factor: " in capsys.readouterr().out


def test_check_that_is_inconclusive_exits_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = checking.check_target("gradcheck_lab.ops:relu")
    unsure = replace(found, verdict="inconclusive", reasons=("the reference is not finite",), gradients=())
    monkeypatch.setattr(checking, "check_target", lambda *arguments, **keywords: unsure)
    assert exit_code("check", "gradcheck_lab.ops:relu") == 3
    assert capsys.readouterr().out.startswith("relu: inconclusive - the reference is not finite\n")


MISUSES = {
    "no-name": (["mylib:"], "'mylib:' names nothing to check; write it as pkg.module:name"),
    "unknown-module": (
        ["mylob:double"],
        "there is no module 'mylob'; the current directory has mylib, mypkg, needs, raises",
    ),
    "unknown-submodule": (["mypkg.outer:relu"], "there is no module 'mypkg.outer'; 'mypkg' has inner"),
    "no-package": (["mylib.inner:relu"], "there is no module 'mylib.inner'; 'mylib' has nothing to check"),
    "unknown-name": (["mylib:tripled"], "the module 'mylib' has no 'tripled'; it has double, double_backward, program"),
    "mistyped-name": (["mylib:duoble"], "the module 'mylib' has no 'duoble'; did you mean double?"),
    "mistyped-op": (
        ["gradcheck_lab.ops:lienar"],
        "the module 'gradcheck_lab.ops' has no 'lienar'; did you mean linear or bilinear?",
    ),
    "missing-dependency": (
        ["needs:f"],
        "importing 'needs' raised ModuleNotFoundError: No module named 'not_installed_anywhere'",
    ),
    "broken-module": (["raises:f"], "importing 'raises' raised ZeroDivisionError: division by zero"),
    "no-specs": (
        ["mylib:program"],
        "mylib:program has no specs to draw its inputs from; give one per input, such as "
        "--spec \"real('n d')\" --spec \"labels('n', classes='d')\"",
    ),
    "code-as-spec": (
        ["mylib:program", "--spec", "__import__('os').getcwd()"],
        "the spec \"__import__('os').getcwd()\" cannot be read; write it as real('n d') or labels('n', classes='c')",
    ),
    "too-few-specs": (
        ["gradcheck_lab.ops:mul", "--spec", "real('n')"],
        "mul: it takes 2 inputs and 1 were given",
    ),
    "option-without-value": (
        ["gradcheck_lab.ops:mse_loss", "--option", "sum"],
        "the option 'sum' cannot be read; write it as key=value",
    ),
    "unknown-option": (
        ["gradcheck_lab.ops:mse_loss", "--option", "reduce=sum"],
        "mse_loss has no option 'reduce'; it accepts reduction",
    ),
    "wrt-of-no-input": (
        ["gradcheck_lab.ops:mul", "--wrt", "c"],
        "wrt names 'c', which is no input of mul; its inputs are a, b",
    ),
    "wrt-of-labels": (
        ["gradcheck_lab.ops:nll_loss", "--wrt", "1"],
        "wrt names 1, which is no floating tensor; pass target.double(), or leave it out",
    ),
    "unknown-dtype": (
        ["mylib:double", "--dtype", "float8"],
        "there is no dtype 'float8' to check in; pass one of float64, float32, bfloat16, float16",
    ),
    "json-in-no-folder": (
        ["mylib:double", "--json", "absent/report.json"],
        "cannot write 'absent/report.json'; name a file in a folder that exists",
    ),
    "json-is-a-folder": (
        ["mylib:double", "--json", "mypkg"],
        "cannot write 'mypkg'; name a file in a folder that exists",
    ),
}


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("arguments", "message"), MISUSES.values(), ids=MISUSES)
def test_check_misused_says_so_in_one_line_and_exits_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("check", *arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_demo_misused_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("demo", "--epochs", "0") == 2
    assert capsys.readouterr() == ("", "error: epochs is 0; pass at least 1\n")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["check"], ["check", "a:b", "--seed", "x"], ["list", "--no"]])
def test_a_command_line_that_cannot_be_read_exits_2(arguments: list[str]) -> None:
    assert exit_code(*arguments) == 2


def test_many_names_are_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "__all__", [f"op{k:02}" for k in range(25)])
    with pytest.raises(InvalidArgument) as caught:
        targets.locate("gradcheck_lab.ops:nothing")
    shown = ", ".join(f"op{k:02}" for k in range(20))
    assert str(caught.value) == f"the module 'gradcheck_lab.ops' has no 'nothing'; it has {shown}, and 5 more"


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("p=2", ("p", 2)),
        ("eps=1e-5", ("eps", 1e-5)),
        ("reduction=sum", ("reduction", "sum")),
        ("dims=(0, 1)", ("dims", (0, 1))),
        ("keep=True", ("keep", True)),
        ("where=a=b", ("where", "a=b")),
        ("code=print(1)", ("code", "print(1)")),
    ],
)
def test_option_values_are_literals_or_text(text: str, option: tuple[str, object]) -> None:
    assert targets.read_option(text) == option


def test_list_shows_every_op_with_its_specs_and_formula(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("list") == 0
    out = capsys.readouterr().out
    assert (
        "linear\n"
        "  linear(real('*b d_in'), real('d_out d_in'), real('d_out'))\n"
        "  linear(real('*b d_in'), real('d_out d_in'))\n"
        "    dx = g W,  dW = gᵀ x,  db = Σ g over the batch.\n"
    ) in out
    assert (
        "  softmax_cross_entropy(real('*b c'), labels('*b', classes='c'))\n"
        "  softmax_cross_entropy(real('*b c'), probabilities('*b c'))\n"
        "    dlogits = "
    ) in out
    for family, members in ops.FAMILIES.items():
        assert f"{family}\n" in out
        for op in members:
            assert op.formula
            assert f"    {op.formula}\n" in out


def test_list_shows_the_families_and_ops_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("list", "regression_losses", "relu") == 0
    out = capsys.readouterr().out
    families = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert families == ["regression_losses", "activations", "4 ops in 2 families"]
    assert "  huber_loss(" in out
    assert "leaky_relu" not in out


def test_list_of_something_unknown_names_the_families(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("list", "lienar") == 2
    known = ", ".join(ops.FAMILIES)
    assert capsys.readouterr() == ("", f"error: there is no op or family 'lienar'; the families are {known}\n")


def test_help_of_every_command_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from gradcheck_lab.commands.cli import main\n"
        "for arguments in (['--help'], ['check', '--help'], ['demo', '--help'], ['list', '--help']):\n"
        "    try:\n"
        "        main(arguments)\n"
        "    except SystemExit as stopped:\n"
        "        assert stopped.code == 0\n"
        "assert not {'torch', 'numpy'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("demo", "check", "list"):
        assert f"gradcheck-lab {command} [OPTIONS]" in done.stdout


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "gradcheck_lab", "--help"], capture_output=True, text=True, check=True)
    assert "gradcheck-lab [OPTIONS] COMMAND [ARGS]..." in done.stdout
