"""What cannot be read is refused with the nearest readings, and the wrapper of the first works when it is pasted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gradcheck_lab as gl
from gradcheck_lab.subjects.readings.reading import PASTE
from tests.subjects.unread import HEAD, LAYERS, PAIRS

CASES = {**PAIRS, **LAYERS}


def refusal_of(code: str, factor: float, path: Path) -> tuple[str, dict[str, Any]]:
    """The message of the call at the end of the code, and the user's names after it."""
    space: dict[str, Any] = {"__name__": path.stem, "K": factor}
    path.write_text(HEAD + code, encoding="utf-8")
    with pytest.raises(gl.InvalidArgument) as caught:
        exec(compile(HEAD + code, str(path), "exec", dont_inherit=True), space)
    return str(caught.value), space


def pasted(message: str, space: dict[str, Any]) -> gl.Report:
    """The report of the wrapper in a message, run in the names of the user."""
    code = message.partition(f"\n{PASTE}\n")[2]
    *before, last = code.splitlines()
    space["gl"] = SimpleNamespace(check=partial(gl.check, probes=()), Op=gl.Op, Layer=gl.Layer)
    exec("\n".join(before), space)
    report = eval(last, space)
    assert isinstance(report, gl.Report)
    return report


@pytest.mark.parametrize("code", CASES.values(), ids=CASES)
def test_the_wrapper_in_the_message_works(code: str, tmp_path: Path) -> None:
    message, space = refusal_of(code, 1.0, tmp_path / "sound.py")
    report = pasted(message, space)
    assert report.verdict == "pass", f"{message}\n{report}"
    message, space = refusal_of(code, 1.5, tmp_path / "wrong.py")
    report = pasted(message, space)
    assert report.verdict == "fail", f"{message}\n{report}"


def test_a_pair_is_shown_three_readings_in_its_own_names(tmp_path: Path) -> None:
    message, _ = refusal_of(PAIRS["inputs-then-upstream"], 1.0, tmp_path / "sound.py")
    assert message.splitlines() == [
        "cannot tell what the backward of matmul takes: its parameters are p, q, r; the nearest readings are",
        "  1. output = matmul(x, w), then pull(x, w, grad_output)",
        "  2. output = matmul(x, w), then pull(x, w, output)",
        "  3. output = matmul(x, w), then pull(grad_output, w, output)",
        "paste the first, or write another of them like it:",
        "gl.check((matmul, lambda grad_output, x, w: pull(x, w, grad_output)), x, w)",
    ]


def test_a_cache_before_the_result_is_turned_around(tmp_path: Path) -> None:
    message, _ = refusal_of(PAIRS["cache-before-the-result"], 1.0, tmp_path / "sound.py")
    assert message.splitlines()[1] == "  1. cache, output = run(x, w), then pull(cache, grad_output)"
    assert message.splitlines()[-1] == (
        "gl.check((lambda x, w: run(x, w)[::-1], lambda grad_output, cache: pull(cache, grad_output)), x, w)"
    )


SHOWN = {
    "strange-methods-and-gradient": [
        "cannot tell which methods of Scale are its forward and its backward; the nearest readings are",
        "  1. output = scale.run(x), then scale.pull(grad_output): gradient of x is returned, of factor in scale.slope",
        PASTE,
        "gl.check(gl.Layer(scale, forward='run', backward='pull', parameters={'factor': 'slope'}), x)",
    ],
    "gradients-returned-in-a-row": [
        "cannot tell which methods of Net are its forward and its backward; the nearest readings are",
        "  1. output = net.run(x), then net.back(grad_output): gradient of x is returned, of W is returned, of b is returned",
        PASTE,
        "def backward(layer, grad_output):",
        "    layer.returned_b, layer.returned_W, entry_2 = layer.back(grad_output)",
        "    return entry_2",
        "gl.check(gl.Layer(net, forward='run', backward=backward, parameters={'W': 'returned_W', 'b': 'returned_b'}), x)",
    ],
    "build-with-a-shape": [
        "Late.forward raises AttributeError: 'Late' object has no attribute 'W' before another method was called; the nearest "
        "readings are",
        "  1. layer.build(x.shape), then layer.forward(x)",
        PASTE,
        "layer.build(x.shape)",
        "gl.check(layer, x)",
    ],
    "class-instead-of-an-object": [
        "Dense is a class, and constructing it takes n_in, n_out; the nearest readings are",
        "  1. Dense(n_in=3, n_out=2).forward(x)",
        "  2. Dense(n_in=3, n_out=3).forward(x)",
        PASTE,
        "gl.check(Dense(3, 2), x)",
    ],
}


@pytest.mark.parametrize(("name", "lines"), SHOWN.items(), ids=SHOWN)
def test_an_object_is_shown_how_it_may_be_meant(name: str, lines: list[str], tmp_path: Path) -> None:
    message, _ = refusal_of(LAYERS[name], 1.0, tmp_path / "sound.py")
    assert message.splitlines() == lines


def test_an_object_that_nothing_of_reads_as_a_layer_is_refused_as_before() -> None:
    class Other:
        def __init__(self) -> None:
            self.count = 0

        def tick(self) -> None:
            self.count += 1

    with pytest.raises(gl.InvalidArgument, match=r"^cannot check an object of type Other; pass gl.Op"):
        gl.check(Other(), np.ones(3))
