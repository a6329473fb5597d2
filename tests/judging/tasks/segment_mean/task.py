"""Means of the rows of each segment, on top of a base row per segment; an empty segment keeps its base."""

from gradcheck_lab.specs import labels, real

specs = (real("n d"), labels("n", classes="s"), real("s d"))
forbidden = ("aten.scatter_reduce", "aten.segment_reduce", "aten._segment_reduce_backward", "aten.index_reduce")


def reference(values, segments, base):
    counts = values.new_zeros(base.shape[0]).index_add(0, segments, values.new_ones(segments.shape[0]))
    sums = values.new_zeros(base.shape).index_add(0, segments, values)
    return base + sums / counts.clamp(min=1)[:, None]
