"""memcnn: reversible blocks, whose backward computes the inputs anew."""

import torch
from memcnn.models.additive import AdditiveBlockFunction, AdditiveBlockFunction2, AdditiveBlockInverseFunction
from memcnn.models.affine import AffineAdapterNaive, AffineBlockFunction, AffineBlockInverseFunction

import gradcheck_lab as gl

torch.manual_seed(0)
X = torch.randn(2, 4, 3, dtype=torch.float64)
PARTS = tuple(torch.nn.Sequential(torch.nn.Conv1d(2, 2, 3, padding=1), torch.nn.Tanh()).double() for _ in range(2))
AFFINE_PARTS = tuple(AffineAdapterNaive(torch.nn.Conv1d(2, 2, 3, padding=1).double()) for _ in range(2))
WEIGHTS, AFFINE_WEIGHTS = ([p for part in parts for p in part.parameters()] for parts in (PARTS, AFFINE_PARTS))


def additive(x):
    return AdditiveBlockFunction.apply(x, *PARTS, *WEIGHTS)


def additive_without_input(x):
    return AdditiveBlockFunction2.apply(x.clone(), *PARTS, *WEIGHTS)


def additive_inverse(x):
    return AdditiveBlockInverseFunction.apply(x, *PARTS, *WEIGHTS)


def affine(x):
    return AffineBlockFunction.apply(x, *AFFINE_PARTS, *AFFINE_WEIGHTS)


def affine_inverse(x):
    return AffineBlockInverseFunction.apply(x, *AFFINE_PARTS, *AFFINE_WEIGHTS)


if __name__ == "__main__":
    gl.check(additive, X)
    gl.check(additive_without_input, X)
    gl.check(additive_inverse, X)
    gl.check(affine, X)
    gl.check(affine_inverse, X)
