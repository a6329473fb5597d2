"""Mean and variance of each row: two outputs."""

from gradcheck_lab.specs import real

specs = (real("n d"),)
forbidden = ("aten.var", "aten.var_mean", "aten.std", "aten.std_mean", "aten.native_layer_norm")


def reference(x):
    mean = x.mean(-1)
    return mean, (x - mean[:, None]).square().mean(-1)
