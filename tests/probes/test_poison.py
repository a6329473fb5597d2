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
