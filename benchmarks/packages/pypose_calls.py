"""pypose: rotations, rigid motions and similarities. The gradient of an element of a group is one by its tangent, which is
meant; so what is checked begins in the Lie algebra and ends at points or in the algebra, where both kinds agree."""

import pypose
import torch

import gradcheck_lab as gl

torch.manual_seed(0)
W, V, RS, S = (0.5 * torch.randn(3, size, dtype=torch.float64) for size in (3, 6, 4, 7))
W2, V2, S2 = 0.5 * torch.randn(3, 3, dtype=torch.float64), 0.5 * torch.randn(3, 6, dtype=torch.float64), 0.3 * S.flip(0)
POINTS = torch.randn(3, 3, dtype=torch.float64)


def rotate(w, points):
    return pypose.so3(w).Exp().Act(points)


def rotate_back(w, points):
    return pypose.so3(w).Exp().Inv().Act(points)


def compose_rotations(w, other):
    return (pypose.so3(w).Exp() @ pypose.so3(other).Exp()).Log().tensor()


def rotation_and_back(w):
    return pypose.so3(w).Exp().Log().tensor()


def adjoint_of_rotation(w, other):
    return pypose.so3(w).Exp().Adj(pypose.so3(other)).tensor()


def adjoint_transposed_of_rotation(w, other):
    return pypose.so3(w).Exp().AdjT(pypose.so3(other)).tensor()


def move(v, points):
    return pypose.se3(v).Exp().Act(points)


def translation(v):
    return pypose.se3(v).Exp().translation()


def compose_motions(v, other):
    return (pypose.se3(v).Exp() @ pypose.se3(other).Exp()).Log().tensor()


def motion_and_back(v):
    return pypose.se3(v).Exp().Log().tensor()


def move_back(v, points):
    return pypose.se3(v).Exp().Inv().Act(points)


def adjoint_of_motion(v, other):
    return pypose.se3(v).Exp().Adj(pypose.se3(other)).tensor()


def scale_and_rotate(rs, points):
    return pypose.rxso3(rs).Exp().Act(points)


def scale_and_rotate_and_back(rs):
    return pypose.rxso3(rs).Exp().Log().tensor()


def similarity(s, points):
    return pypose.sim3(s).Exp().Act(points)


def similarity_and_back(s):
    return pypose.sim3(s).Exp().Log().tensor()


def similarity_inverted(s, points):
    return pypose.sim3(s).Exp().Inv().Act(points)


if __name__ == "__main__":
    gl.check(rotate, W, POINTS)
    gl.check(rotate_back, W, POINTS)
    gl.check(compose_rotations, W, W2)
    gl.check(rotation_and_back, W)
    gl.check(adjoint_of_rotation, W, W2)
    gl.check(adjoint_transposed_of_rotation, W, W2)
    gl.check(move, V, POINTS)
    gl.check(translation, V)
    gl.check(compose_motions, V, V2)
    gl.check(motion_and_back, V)
    gl.check(move_back, V, POINTS)
    gl.check(adjoint_of_motion, V, V2)
    gl.check(scale_and_rotate, RS, POINTS)
    gl.check(scale_and_rotate_and_back, RS)
    gl.check(similarity, S, POINTS)
    gl.check(similarity_and_back, S)
    gl.check(similarity_inverted, S, POINTS)
