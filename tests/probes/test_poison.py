"""Memory that the backward never writes is found, whatever happened to lie in it."""

import numpy
import torch

import gradcheck_lab as gl
from gradcheck_lab.probes.poison import poisoned
from tests.mistakes.values import empty_first_element


def test_element_left_empty_is_unwritten() -> None:
    wrong, sound, inputs, options = empty_first_element()
    report = gl.check(wrong, *inputs, options=options, probes={"poison"})
    assert {f.cause for f in report.findings if f.severity == "error"} & {"unwritten-elements"}
    assert gl.check(sound, *inputs, options=options, probes={"poison"}).verdict == "pass"


def test_written_empty_memory_passes() -> None:
    def backward(g: torch.Tensor, out: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.empty_like(x).copy_(2 * g),)

    assert gl.check(gl.Op(lambda x: 2 * x, backward, name="double"), torch.ones(3), probes={"poison"}).findings == ()


def test_poison_fills_torch_and_numpy_and_leaves_numpy_as_it_was() -> None:
    before = numpy.empty, numpy.empty_like
    with poisoned(float("nan")):
        assert torch.empty(3).isnan().all()
        assert numpy.isnan(numpy.empty(3)).all()
        assert torch.zeros(3).eq(0).all()
    assert (numpy.empty, numpy.empty_like) == before


def _partly(value: torch.Tensor, rows: int) -> torch.Tensor:
    """The first rows of a value, in memory whose other rows are not written."""
    out = torch.empty(value.shape, dtype=value.dtype)
    out[:rows] = value[:rows]
    return out


def test_rows_left_empty_at_another_size_are_unwritten_whatever_lies_there() -> None:
    def backward(g: torch.Tensor, out: torch.Tensor, x: torch.Tensor, whole: bool = False) -> tuple[torch.Tensor]:
        return (_partly(g * x.cos(), len(x) if whole else len(x) // 2 * 2),)

    x = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    report = gl.check(gl.Op(torch.sin, backward, name="sine"), x, probes={"sizes"})
    assert [f.cause for f in report.findings if f.severity == "error"] == ["unwritten-elements"], report
    sound = gl.Op(torch.sin, lambda g, out, x: backward(g, out, x, True), name="sine")
    assert gl.check(sound, x, probes={"sizes"}).verdict == "pass"


def test_output_left_empty_is_unwritten_and_no_other_forward() -> None:
    def sine(rows: int) -> gl.Op:
        return gl.Op(lambda x: _partly(x.sin(), len(x) - rows), lambda g, out, x: (g * x.cos(),), name="sine")

    x = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(4, 3)
    report = gl.check(sine(1), x, reference=torch.sin)
    (finding,) = (f for f in report.findings if f.severity == "error")
    assert (finding.cause, finding.gradient) == ("unwritten-elements", None), report
    assert finding.message.startswith("output is not written in 3 of 12 elements")
    assert gl.check(sine(0), x, reference=torch.sin).verdict == "pass"


def test_another_mistake_in_written_memory_keeps_its_name() -> None:
    def backward(g: torch.Tensor, out: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.empty_like(x).copy_(g * x.cos() * (3 if len(x) == 1 else 1)),)

    x = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    report = gl.check(gl.Op(torch.sin, backward, name="sine"), x, probes={"sizes"})
    assert "unwritten-elements" not in {f.cause for f in report.findings}
    assert report.verdict == "fail"
