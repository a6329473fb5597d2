"""Functions as people write them, each right and with a mistake, as rows that tests run over."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from tests.subjects.functions.activations import (
    BiasGelu,
    BiasGeluAveraged,
    DropoutUnscaled,
    DropoutWithMask,
    Gelu,
    GeluApproximateOnly,
    Mish,
    MishTwice,
    Sparsemax,
    SparsemaxOverAll,
    Swish,
    SwishWithSign,
)
from tests.subjects.functions.contract import (
    CubeOnce,
    CubeOnceTwice,
    Embedding,
    EmbeddingAssigned,
    Flatten,
    FlattenTransposed,
    MatmulSwapped,
    MatmulWhereNeeded,
    PolarParts,
    PolarPartsRadiusOnly,
    ScaleInPlace,
    ScaleInPlaceUnscaled,
    SinCosDropped,
    SinCosUnmaterialized,
    SumOfMany,
    SumOfManyDoubled,
)
from tests.subjects.functions.numeric import (
    BesselByNumpy,
    BesselWithSign,
    CubicRoot,
    CubicRootExplicit,
    SinFloat32Only,
    SinFloat32Twice,
)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


SQUARE, RECTANGLE = normal(3, 3), normal(4, 3)
INDEX = torch.tensor([0, 2, 2, 4, 0])

# the sound Function, the one with a mistake, the call, and the gradient and cause that the mistake shows
TABLE: tuple[tuple[type[Function], type[Function], tuple[Any, ...], str, str], ...] = (
    (Swish, SwishWithSign, (RECTANGLE, 1.5), "x", "sign"),
    (Mish, MishTwice, (RECTANGLE,), "x", "constant-factor"),
    (Gelu, GeluApproximateOnly, (RECTANGLE, "none"), "x", "wrong-value"),
    (BiasGelu, BiasGeluAveraged, (RECTANGLE, normal(3, seed=1)), "bias", "constant-factor"),
    (Sparsemax, SparsemaxOverAll, (2 * normal(4, 7),), "z", "wrong-value"),
    (DropoutWithMask, DropoutUnscaled, (RECTANGLE, 0.25), "x", "constant-factor"),
    (Embedding, EmbeddingAssigned, (normal(5, 3), INDEX), "weight", "wrong-value"),
    (MatmulWhereNeeded, MatmulSwapped, (RECTANGLE, normal(3, 2), normal(2, seed=1)), "bias", "missing-gradient"),
    (CubeOnce, CubeOnceTwice, (RECTANGLE,), "x", "constant-factor"),
    (PolarParts, PolarPartsRadiusOnly, (RECTANGLE, normal(4, 3, seed=1)), "y", "wrong-value"),
    (SinCosUnmaterialized, SinCosDropped, (RECTANGLE,), "x", "wrong-value"),
    (ScaleInPlace, ScaleInPlaceUnscaled, (RECTANGLE, 3.0), "x", "constant-factor"),
    (Flatten, FlattenTransposed, (SQUARE,), "x", "transposed"),
    (SumOfMany, SumOfManyDoubled, (RECTANGLE, normal(4, 3), normal(4, 3)), "parts[1]", "constant-factor"),
)

# forwards that autograd cannot follow, or not in float64
NUMERIC = (
    (CubicRoot, CubicRootExplicit, (RECTANGLE,), "x"),
    (BesselByNumpy, BesselWithSign, (RECTANGLE,), "x"),
    (SinFloat32Only, SinFloat32Twice, (RECTANGLE.float(),), "x"),
)
