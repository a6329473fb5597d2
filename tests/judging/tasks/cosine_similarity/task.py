"""Cosine of the angle between rows."""

from gradcheck_lab.specs import nonzero

specs = (nonzero("n d"), nonzero("n d"))
forbidden = ("aten.cosine_similarity", "aten.linalg_vector_norm", "aten.norm", "aten.frobenius_norm")


def reference(a, b):
    return (a * b).sum(-1) / (a.square().sum(-1).sqrt() * b.square().sum(-1).sqrt())
