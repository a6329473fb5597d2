"""Maximum over windows of two neighbours that do not overlap; a last element without neighbour is left out."""

from gradcheck_lab.specs import real

specs = (real("n c 2l"),)
forbidden = (
    "aten.max_pool1d", "aten.max_pool1d_with_indices", "aten.max_pool2d", "aten.max_pool2d_with_indices",
    "aten.max_pool2d_with_indices_backward", "aten.adaptive_max_pool1d",
)


def reference(x):
    return x.unflatten(-1, (x.shape[-1] // 2, 2)).amax(-1)
