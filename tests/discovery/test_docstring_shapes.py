"""Shapes as docstrings write them, read as specs; what cannot be read gives none."""

from __future__ import annotations

import inspect

import pytest

from gradcheck_lab.discovery.docstring_shapes import described_shapes

COURSE = """
    - x: A numpy array containing input data, of shape (N, d_1, ..., d_k)
    - w: A numpy array of weights, of shape (D, M), where we reshape
      each input into a vector of dimension D = d_1 * ... * d_k
    - b: A numpy array of biases, of shape (M,)

    Returns a tuple of:
    - out: output, of shape (N, M)
    - cache: (x, w, b)
"""
DICTIONARY = """
    - x: Data of shape (N, D)
    - gamma: Scale parameter of shape (D,)
    - bn_param: Dictionary with the following keys:
      - mode: 'train' or 'test'; required
      - running_mean: Array of shape (D,) giving running mean of features
"""
LOSS = """
    - x: Input data, of shape (N, C) where x[i, j] is the score for the jth
      class for the ith input.
    - y: Vector of labels, of shape (N,) where y[i] is the label for x[i] and
      0 <= y[i] < C
"""
GOOGLE = """Attend.

    Args:
        x (Tensor): [B, T, D]
        mask (Tensor): boolean mask [B, T]
        idx (LongTensor): indices of shape [B], 0 <= idx < V
        table (Tensor, optional): [V, D] embeddings
        eps (float, optional): added to the denominator
"""
NUMPYDOC = """
    Parameters
    ----------
    x, y : ndarray of shape (n, d)
        The inputs.
    w : array-like of shape (d,), optional
    Z : :py:class:`ndarray <numpy.ndarray>` of shape `(n_ex, n_in)`
        Layer input
    axis : int
"""
COURSERA = """
    Arguments:
    A -- activations from previous layer (or input data): (size of previous layer, number of examples)
    W -- weights matrix: numpy array of shape (size of current layer, size of previous layer)
    b -- bias vector, numpy array of shape (size of the current layer, 1)
"""
CASES = {
    "course": (COURSE, "x w b", ["real('N 3 4')", "real('12 M')", "real('M')"]),
    "dictionary": (DICTIONARY, "x gamma bn_param", ["real('N D')", "real('D')", ""]),
    "loss": (LOSS, "x y", ["real('N C')", "labels('N', classes='C')"]),
    "google": (
        GOOGLE,
        "x mask idx table eps",
        ["real('B T D')", "mask('B T')", "labels('B', classes='V')", "real('V D')", ""],
    ),
    "numpydoc": (NUMPYDOC, "x y w Z axis", ["real('n d')", "real('n d')", "real('d')", "real('n_ex n_in')", ""]),
    "coursera": (
        COURSERA,
        "A W b",
        [
            "real('size_of_previous_layer number_of_examples')",
            "real('size_of_current_layer size_of_previous_layer')",
            "real('size_of_the_current_layer 1')",
        ],
    ),
    "sphinx": (
        ":param x:(N, C1,C2,...Cn)\n:param w: (C1*C2*...*Cn, C_out)\n:param Tensor b: (C_out)\n:return: (N, C_out)",
        "x w b",
        ["real('N 3 4')", "real('12 C_out')", "real('C_out')"],
    ),
    "dashes": (
        "x - Input data, of shape (N, d_1, ..., d_k)\nw - Weights, of shape (D, M)\nD = \\prod_i d_i",
        "x w",
        ["real('N 3 4')", "real('12 M')"],
    ),
    "type": (
        "x (np.ndarray): (N, d1, d2, ..., dn) shape.\nw (np.ndarray): (D, W) shape.",
        "x w",
        ["real('N 3 4')", "real('12 W')"],
    ),
    "any": (
        "x: Input, of any shape\nz: of shape (N, ...)\nq: (*, d)",
        "x z q",
        ["real('3 4')", "real('N 3 4')", "real('3 4 d')"],
    ),
    "crossed": ("X: N x D array\nr: vector of 4 * H numbers, (4*H,)", "X r", ["real('N D')", "real('4H')"]),
    "kinds": (
        "p: probabilities, (n, c)\nt: one-hot targets, (n, c)\nv: variance, of shape (c,)\ni: integer array of shape (n,)",
        "p t v i",
        ["probabilities('n c')", "one_hot('n c')", "positive('c')", "integers('n', low=0, high=10)"],
    ),
    "no shape": ("x: the input (optional)\nk: scalar (default)\nf: a callable of shape (n,)\ny: (n + 1,)", "x k f y", [""] * 4),
    "labels of unknown classes": ("x: (n,)\ny: labels (n,)", "x y", ["real('n')", ""]),
    "text": ("It is said: that x, y are (as a rule) equal.", "x y", ["", ""]),
}


@pytest.mark.parametrize(("text", "names", "specs"), CASES.values(), ids=CASES)
def test_shapes_are_read(text: str, names: str, specs: list[str]) -> None:
    found = described_shapes(text, names.split())
    assert [str(found.get(name, "")) for name in names.split()] == specs
    assert {name: str(spec) for name, spec in described_shapes(inspect.cleandoc(text), names.split()).items()} == {
        name: str(spec) for name, spec in found.items()
    }
