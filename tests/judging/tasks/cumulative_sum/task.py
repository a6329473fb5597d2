"""Sums of all elements up to each position, weighted by a factor per position."""

from gradcheck_lab.specs import real

specs = (real("n t"), real("t"))
forbidden = ("aten.cumsum", "aten.cumsum_", "aten.logcumsumexp", "aten.cumprod")


def reference(x, weight):
    t = x.shape[1]
    return (x * weight) @ x.new_ones(t, t).triu()
