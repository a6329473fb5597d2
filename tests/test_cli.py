"""The command line: what it prints, its exit codes, and every misuse with its whole message."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gradcheck_lab import Report, ops, targets
from gradcheck_lab.cli import main
from gradcheck_lab.described import read_specs, specs_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.scan import Scan

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

FORMS = """
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab.ops import relu
from gradcheck_lab.specs import real

cube = gl.Op(lambda x: x**3, lambda grad_output, output, x: (3 * x * x * grad_output,), name="cube")
pair = (torch.sin, lambda grad_output, output, x: (grad_output * x.cos(),))

class Double(Function):
    @staticmethod
    def forward(ctx: Any, x: Annotated[Tensor, real("n d")]) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return 2 * grad_output

class Wrong(Double):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return 6 * grad_output

class Bare(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return grad_output

double = Double.apply

@torch.library.custom_op("gradcheck_lab_forms::halve", mutates_args=())
def halve(x: Tensor) -> Tensor:
    return x / 2

halve.register_autograd(lambda ctx, grad_output: grad_output / 2)

class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return double(self.fc(x))

class Wide(Small):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, width)

class Deep(Wide):
    pass

wide = Wide(4)

def function(x: Tensor, *, scale: float = 1.0) -> Tensor:
    return double(x) * scale

def program(x: Tensor) -> Tensor:
    return relu(x)

__gradcheck_specs__ = {
    "pair": "real('n')",
    "halve": ("real('n d')",),
    "Small": real("n 3"),
    "Wide": "real('n 3')",
    "program": "real('n d')",
    "absent": "real('n')",
}
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with a module, a package, and modules that do not import."""
    files = {
        "mylib.py": LIBRARY,
        "forms.py": FORMS,
        "empty.py": "from gradcheck_lab.ops import relu",
        "vague.py": "import gradcheck_lab as gl\nvague = gl.Op(lambda x: x, lambda g, y, x: g)",
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
    for name in ("mylib", "forms", "empty", "vague", "mypkg", "mypkg.inner", "needs", "raises"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.usefixtures("library")
def test_check_of_a_wrong_op_prints_the_report_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "mylib:double", "--seed", "7") == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "double: gradient of input 0 'x' is wrong in 15 of 15 elements"
    assert lines[2:5] == [
        "  cause: constant-factor - it is exactly 2 times the reference",
        "  fix: divide it by 2",
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


@pytest.mark.usefixtures("library")
def test_check_with_the_cause_allowed_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "mylib:double", "--allow", "constant-factor") == 0
    assert "  note: gradient of input 0 'x' is wrong in 15 of 15 elements: constant-factor" in capsys.readouterr().out


def test_check_that_is_inconclusive_exits_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = targets.check_target("gradcheck_lab.ops:relu")
    unsure = replace(found, verdict="inconclusive", reasons=("the reference is not finite",), gradients=())
    monkeypatch.setattr(targets, "check_target", lambda *arguments, **keywords: unsure)
    assert exit_code("check", "gradcheck_lab.ops:relu") == 3
    assert capsys.readouterr().out.startswith("relu: inconclusive - the reference is not finite\n")


FORM_SPECS = {
    "cube": ["real('n d')"],
    "pair": [],
    "Double": [],
    "double": ["real('n d')"],
    "Bare": ["real('n d')"],
    "halve": [],
    "Small": [],
    "wide": [],
    "function": ["real('n d')", "--option", "scale=3.0"],
    "program": [],
}


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("name", "more"), FORM_SPECS.items(), ids=FORM_SPECS)
def test_check_takes_every_form(name: str, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", f"forms:{name}", *(["--spec", *more] if more else [])) == 0
    assert ": pass - " in capsys.readouterr().out


@pytest.mark.usefixtures("library")
def test_check_of_a_module_checks_what_it_defines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scan.json"
    assert exit_code("check", "forms", "--seed", "7", "--json", str(path)) == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    passed = [line.partition(":")[0] for line in lines if ": pass - " in line]
    assert passed == ["pair", "Double", "halve", "Small", "wide", "program"]
    wrong = lines.index("Wrong: gradient of input 0 'x' is wrong in 15 of 15 elements")
    assert lines[wrong + 2 : wrong + 5] == [
        "  cause: constant-factor - it is exactly 3 times the reference",
        "  fix: divide it by 3",
        "  reproduce: gradcheck-lab check forms:Wrong --seed 7",
    ]
    assert lines[-5:] == [
        "not checked: cube - nothing describes its inputs; add __gradcheck_specs__ = {'cube': \"real('n d')\"} to the module",
        "not checked: Bare - nothing describes its inputs; add __gradcheck_specs__ = {'Bare': \"real('n d')\"} to the module",
        "not checked: Deep - its constructor needs width; make one in the module, such as deep = Deep(...)",
        "not checked: absent - the module 'forms' has no 'absent'; it has Bare, Deep, Double, Small, Wide, Wrong, function, "
        "program, wide",
        "forms: 7 checked (6 pass, 1 fail); 4 not checked",
    ]
    data = json.loads(path.read_text(encoding="utf-8"))
    assert (data["module"], data["verdict"], len(data["reports"]), len(data["skipped"])) == ("forms", "fail", 7, 4)
    assert Report.from_dict(data["reports"]["Wrong"]).verdict == "fail"


def test_check_of_a_module_whose_ops_are_right_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "gradcheck_lab.ops.linear") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("gradcheck_lab.ops.linear: ")


@pytest.mark.usefixtures("library")
def test_check_of_a_module_where_nothing_can_be_checked_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "vague") == 2
    assert capsys.readouterr().out.splitlines() == [
        "not checked: vague - nothing describes its inputs; add __gradcheck_specs__ = {'vague': \"real('n d')\"} to the module",
        "vague: nothing could be checked",
    ]


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [(["pass", "fail", "inconclusive"], "fail"), (["pass", "inconclusive"], "inconclusive"), (["pass"], "pass")],
)
def test_the_verdict_of_a_scan_is_the_worst(verdicts: list[str], worst: str) -> None:
    found = targets.check_target("gradcheck_lab.ops:relu")
    scan = Scan("m", {str(i): replace(found, verdict=verdict) for i, verdict in enumerate(verdicts)}, {})  # type: ignore[arg-type]
    assert scan.verdict == worst


class Jaxtyped:
    """Stands in for an annotation of jaxtyping's, `Float[Tensor, "n d"]`."""

    def __init__(self, dim_str: str, *dtypes: str) -> None:
        self.dim_str, self.dtypes = dim_str, dtypes

    def __call__(self) -> None: ...


def test_specs_are_read_from_annotations_with_a_shape() -> None:
    def forward(x, index, weight=None): ...  # type: ignore[no-untyped-def]

    real, whole = Jaxtyped("*batch d", "float32", "float64"), Jaxtyped("*batch", "int64")
    forward.__annotations__ = {"x": real, "index": whole}
    assert [str(spec) for spec in specs_of(forward, "m", "f")] == ["real('*batch d')", "integers('*batch', low=0, high=10)"]
    forward.__annotations__ = {"x": Jaxtyped("n+1", "float32"), "index": whole}
    assert specs_of(forward, "m", "f") == ()
    forward.__annotations__ = {"x": real}
    assert specs_of(forward, "m", "f") == ()


@pytest.mark.parametrize("written", [3, {"x": "real('n')"}, ("real('n')", 3)])
def test_specs_that_cannot_be_read_say_so(written: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_specs(written, "__gradcheck_specs__['f'] of m")
    assert str(caught.value) == (
        f"__gradcheck_specs__['f'] of m is {written!r}; write one spec per input, such as \"real('n d'), real('d')\""
    )


MISUSES = {
    "scan-with-specs": (
        ["mylib", "--spec", "real('n d')"],
        "--spec, --option and --allow are for one object; write it as mylib:name",
    ),
    "scan-of-nothing": (
        ["empty"],
        "the module 'empty' defines no op, autograd Function, custom op, layer or module; it has nothing to check",
    ),
    "class-with-arguments": (
        ["forms:Wide", "--spec", "real('n 3')"],
        "forms:Wide cannot be checked: its constructor needs width; make one in the module, such as wide = Wide(...)",
    ),
    "no-name": (["mylib:"], "'mylib:' names nothing to check; write it as pkg.module:name"),
    "unknown-module": (
        ["mylob:double"],
        "there is no module 'mylob'; the current directory has empty, forms, mylib, mypkg, needs, raises, vague",
    ),
    "unknown-submodule": (["mypkg.outer:relu"], "there is no module 'mypkg.outer'; 'mypkg' has inner"),
    "no-package": (["mylib.inner:relu"], "there is no module 'mylib.inner'; 'mylib' has nothing to check"),
    "unknown-name": (
        ["mylib:duoble"],
        "the module 'mylib' has no 'duoble'; it has double, double_backward, program",
    ),
    "unknown-op": (
        ["gradcheck_lab.ops:lienar"],
        "the module 'gradcheck_lab.ops' has no 'lienar'; it has " + ", ".join(sorted(ops.__all__)),
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


def test_help_of_every_command_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from gradcheck_lab.cli import main\n"
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
