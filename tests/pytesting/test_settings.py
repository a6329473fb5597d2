"""Settings in `pyproject.toml`: the same as the options, which go first."""

import json

import pytest

from tests.pytesting.suite import run

pytest_plugins = ["pytester"]

SETTINGS = """
[tool.pytest.ini_options]
gradcheck_device = ["cpu"]
gradcheck_dtype = ["float32", "float64"]
gradcheck_seed = 7
gradcheck_examples = 4
gradcheck_report = "found.json"
gradcheck_save_failures = "failures"
"""
BODY = """
def test_it(gradcheck):
    report = gradcheck.fuzz(ops.relu)
    print("seen:", gradcheck.device, gradcheck.dtype, gradcheck.seed, report.examples)
    gradcheck(doubled)
"""


def seen(result: pytest.RunResult) -> list[str]:
    return [line.removeprefix("seen: ") for line in result.outlines if line.startswith("seen:")]


def test_settings_are_read(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml(SETTINGS)
    result = run(pytester, BODY, "--strict-config")
    result.assert_outcomes(failed=2)
    assert seen(result) == ["cpu torch.float32 7 4", "cpu torch.float64 7 4"]
    assert json.loads((pytester.path / "found.json").read_text(encoding="utf-8"))["seed"] == 7
    assert len(list((pytester.path / "failures").iterdir())) == 2


def test_options_go_before_settings(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml(SETTINGS)
    arguments = ["--gradcheck-dtype=float64", "--gradcheck-seed=1", "--gradcheck-examples=2"]
    arguments += ["--gradcheck-report=other.json", "--gradcheck-save-failures=others"]
    assert seen(run(pytester, BODY, *arguments)) == ["cpu torch.float64 1 2"]
    assert sorted(path.name for path in pytester.path.iterdir() if path.name[0] in "of") == ["other.json", "others"]


def test_paths_are_relative_to_the_file_that_names_them(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml(SETTINGS)
    pytester.mkdir("inner")
    test_file = pytester.makepyfile("def test_it(gradcheck):\n    gradcheck('no op')\n")
    pytester.chdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pytester.path / "inner")
        pytester.runpytest("-p", "no:cacheprovider", f"--rootdir={pytester.path}", str(test_file))
    assert (pytester.path / "found.json").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('gradcheck_dtype = ["half"]', "--gradcheck-dtype is 'half'; pass one of float64, float32, bfloat16, float16"),
        ('gradcheck_seed = "x"', "--gradcheck-seed is 'x'; pass a whole number of at least 0"),
    ],
)
def test_setting_that_means_nothing_is_refused(pytester: pytest.Pytester, setting: str, message: str) -> None:
    pytester.makepyprojecttoml(f"[tool.pytest.ini_options]\n{setting}\n")
    result = run(pytester, "")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
