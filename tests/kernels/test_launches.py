"""What is seen of an interpreted launch: accesses outside of its tensors, and what other orders of its programs change."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

import gradcheck_lab as gl
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.kernels.launches import MONITOR, Order, Outside, Watching
from gradcheck_lab.kernels.starting import install_where_interpreting
from tests.kernels import small

ORDERS: tuple[Order, ...] = ("first to last", "last to first", "shuffled", "at once")


@pytest.fixture(autouse=True)
def installed() -> None:
    install_where_interpreting()


def test_an_access_outside_says_kernel_argument_distance_and_line() -> None:
    x, y = torch.arange(5.0), torch.zeros(5)
    with MONITOR.watch(Watching()) as seen:
        small.partly_read[(1,)](x, y, 5, BLOCK=8)
    lines = Path(small.__file__).read_text(encoding="utf-8").splitlines()
    line = next(k for k, text in enumerate(lines, 1) if text.startswith("def partly_read")) + 2
    assert seen.outside == [Outside("partly_read", "x_ptr", "reads", 3, f"small.py:{line}", 3)]
    assert torch.equal(y, 2 * x)
    (launch,) = seen.launches
    assert (launch.constants, launch.programs) == ({"BLOCK": 8}, 1)


def test_a_read_outside_that_changes_nothing_is_a_warning() -> None:
    double = small.doubled(small.by(small.partly_read, BLOCK=8))
    report = gl.check(double, torch.randn(5), probes={"kernel_memory"})
    (finding,) = report.findings
    assert (report.verdict, finding.severity, finding.cause) == ("pass", "warning", "out-of-bounds")
    assert finding.message == "the kernel partly_read reads beyond x_ptr"
    assert finding.explanation.startswith("3 elements, up to 3 past its end, at small.py:")
    assert finding.explanation.endswith("; what lies there changes nothing here")


def test_a_write_between_the_elements_of_a_view_is_seen() -> None:
    wide = torch.zeros(3, 8)
    with MONITOR.watch(Watching(views=(wide[:, ::2],))) as seen:
        small.every_column[(1,)](wide[:, ::2], 4, BLOCK=4)
    (found,) = [each for each in seen.outside if each.kind == "writes"]
    assert (found.argument, found.past, found.count) == ("x_ptr", 0, 2)


@pytest.mark.parametrize(
    ("mistake", "kind", "argument", "case"),
    [
        ("rows of x", "reads", "x_ptr", "inputs and upstream gradients that are views with a gap behind each row"),
        ("columns of g", "reads", "x_ptr", "inputs and upstream gradients that are views of every other column"),
        ("written to g", "writes", "x_ptr or y_ptr", "inputs and upstream gradients that are views of every other column"),
    ],
)
def test_an_access_in_a_gap_of_an_input_or_an_upstream_gradient_is_seen(
    mistake: str, kind: str, argument: str, case: str
) -> None:
    report = gl.check(small.rows_doubled(mistake), torch.randn(3, 5), probes={"kernel_memory"})
    found = [each for each in report.findings if each.cause == "out-of-bounds"]
    assert [(each.severity, each.case) for each in found][:1] == [("error", case)], report
    assert found[0].message == f"the kernel double_rows {kind} beyond {argument}, at {case}"
    assert "between the elements of a view, at small.py:" in found[0].explanation


def test_strides_explain_no_gradient_that_is_wrong_without_them() -> None:
    class Wrong(small.rows_doubled("columns of g")):  # type: ignore[misc]
        @staticmethod
        def backward(ctx, g):  # type: ignore[no-untyped-def]
            return 3 * small.rows_doubled("columns of g").backward(ctx, g)

    report = gl.check(Wrong, torch.randn(2, 3), probes={"kernel_memory"})
    assert [each.cause for each in report.findings] == ["constant-factor"], report


@pytest.mark.parametrize("sound", ["", "contiguous"])
def test_a_kernel_that_uses_strides_or_a_copy_stays_within_its_views(sound: str) -> None:
    report = gl.check(small.rows_doubled(sound), torch.randn(3, 5), probes={"kernel_memory"})
    assert (report.verdict, report.findings) == ("pass", ()), report


def test_a_kernel_that_takes_an_expanded_upstream_gradient_for_a_whole_one_reads_beyond_it() -> None:
    x = torch.randn(5, requires_grad=True)
    with MONITOR.watch(Watching()) as seen:
        small.rows_doubled("columns of g").apply(x[None]).sum().backward()
    (found,) = seen.outside
    assert (found.argument, found.kind, found.past) == ("x_ptr", "reads", 4)


@pytest.mark.parametrize(("canary", "expected"), [(0.0, 0.0), (float("nan"), float("nan")), (1e30, 1e30)])
def test_what_lies_outside_is_the_canary_in_every_dtype(canary: float, expected: float) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x, y = torch.arange(5.0).to(dtype), torch.zeros(8, dtype=dtype)
        with MONITOR.watch(Watching(canary=canary)):
            small.partly_read[(1,)](x, y, 8, BLOCK=8)
        torch.testing.assert_close(y[5:], torch.full((3,), 2 * expected, dtype=dtype), equal_nan=True)


@pytest.mark.parametrize("order", ORDERS)
def test_the_last_program_of_a_counter_sees_what_the_others_wrote(order: Order) -> None:
    x = torch.arange(8.0)
    part, count, total = torch.zeros(4), torch.zeros(1, dtype=torch.int32), torch.zeros(1)
    with MONITOR.watch(Watching(order)):
        small.last_adds_up[(4,)](x, part, count, total, BLOCK=2, PROGRAMS=4)
    assert total.item() == 28


def test_a_program_that_waits_for_one_that_comes_later_is_ended() -> None:
    flag, y = torch.zeros(1, dtype=torch.int32), torch.zeros(3, dtype=torch.int32)
    small.after_the_one_before[(3,)](flag, y)
    assert y.tolist() == [0, 1, 2]
    flag.zero_()
    with MONITOR.watch(Watching("last to first", most=50)), pytest.raises(InvalidArgument) as refused:
        small.after_the_one_before[(3,)](flag, y)
    assert str(refused.value) == "a program of after_the_one_before waits for one that runs after it"
