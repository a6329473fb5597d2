"""What each object that does not pass is: a mistake of the package, or meant so; docs/found_with_it.md has the evidence."""

from __future__ import annotations

from dataclasses import dataclass

INTENDED, GENUINE = "intended", "genuine"


@dataclass(frozen=True, slots=True)
class Known:
    """The triage of one object: its kind, and what the tool may say first: the cause of a failure, or `inconclusive`."""

    kind: str
    causes: tuple[str, ...]


TRIAGE: dict[tuple[str, str], Known] = {
    ("dezero_calls", "average_pooling_of_2_by_3"): Known(GENUINE, ("raises",)),
    ("dezero_calls", "largest"): Known(GENUINE, ("tie-mass",)),
    ("dezero_calls", "row_max"): Known(GENUINE, ("tie-mass",)),
    ("dezero_calls", "row_min"): Known(GENUINE, ("tie-mass",)),
    ("entmax_calls", "BudgetBisectFunction"): Known(GENUINE, ("value-dependent",)),
    ("entmax_calls", "BudgetBisectOfThreeDimensions"): Known(GENUINE, ("missing-broadcast-sum",)),
    ("gpytorch_calls", "LogNormalCDF"): Known(GENUINE, ("value-dependent",)),
    ("gpytorch_calls", "NaturalToMuVarSqrt"): Known(INTENDED, ("output-gradient-dropped", "wrong-value")),
    ("gpytorch_calls", "TrilNaturalToMuVarSqrt"): Known(INTENDED, ("output-gradient-dropped", "wrong-value")),
    ("linear_operator_calls", "root_by_lanczos"): Known(INTENDED, ("low-precision",)),
    ("memcnn_calls", "additive_inverse"): Known(GENUINE, ("permuted",)),
    ("memcnn_calls", "affine_inverse"): Known(GENUINE, ("permuted",)),
    ("pygrad_calls", "leaky_relu"): Known(GENUINE, ("wrong-value", "value-dependent", "constant-factor")),
    ("pygrad_calls", "mean_squared_error"): Known(GENUINE, ("constant-factor",)),
    ("pygrad_calls", "row_sum"): Known(GENUINE, ("raises",)),
    ("pygrad_calls", "softmax_cross_entropy"): Known(GENUINE, ("wrong-value",)),
    ("pypose_calls", "similarity"): Known(GENUINE, ("wrong-value",)),
    ("pypose_calls", "similarity_and_back"): Known(GENUINE, ("wrong-value",)),
    ("pypose_calls", "similarity_inverted"): Known(GENUINE, ("wrong-value",)),
    ("pypose_calls", "translation"): Known(GENUINE, ("wrong-value",)),
    ("pytorch_wavelets_calls", "analysis_2d_symmetric"): Known(GENUINE, ("wrong-value",)),
    ("pytorch_wavelets_calls", "analysis_periodic"): Known(GENUINE, ("size-specialised",)),
    ("pytorch_wavelets_calls", "analysis_symmetric"): Known(GENUINE, ("wrong-value",)),
    ("pytorch_wavelets_calls", "magnitude"): Known(GENUINE, ("needs-input-grad",)),
    ("pytorch_wavelets_calls", "synthesis_2d_zero"): Known(GENUINE, ("needs-input-grad",)),
    ("pytorch_wavelets_calls", "synthesis_of_high"): Known(GENUINE, ("missing-gradient",)),
    ("pytorch_wavelets_calls", "synthesis_zero"): Known(GENUINE, ("needs-input-grad",)),
    ("small_calls", "ComputeNormalization"): Known(GENUINE, ("option-specialised",)),
    ("small_calls", "NormalCDF"): Known(GENUINE, ("wrong-value", "low-precision")),
    ("small_calls", "QuaternionLinear"): Known(GENUINE, ("inconclusive",)),
    ("small_calls", "RevGrad"): Known(INTENDED, ("sign",)),
    ("surrogate_calls", "Sigmoid"): Known(GENUINE, ("overflow",)),
}

# the packages of each file, by their names in requirements.txt, in the order of the page
PACKAGES: dict[str, tuple[str, ...]] = {
    "surrogate_calls": ("brevitas", "snntorch"),
    "dezero_calls": ("dezero",),
    "entmax_calls": ("entmax",),
    "gpytorch_calls": ("gpytorch",),
    "kornia_calls": ("kornia",),
    "linear_operator_calls": ("linear_operator",),
    "memcnn_calls": ("memcnn",),
    "pygrad_calls": ("pygrad",),
    "pypose_calls": ("pypose",),
    "pytorch_wavelets_calls": ("pytorch-wavelets",),
    "sparsemax_calls": ("sparsemax",),
    "timm_calls": ("timm",),
    "torchcomp_calls": ("torchcomp", "torchlpc"),
    "small_calls": ("diffsort", "e3nn", "POT", "pytorch_optimizer", "pytorch_revgrad", "speechbrain"),
}

# false alarms of this tool that earlier runs of a file had: how many objects, and what made them; all are mended
MENDED: dict[str, tuple[int, str]] = {
    "surrogate_calls": (1, "a dtype"),
    "entmax_calls": (13, "class methods"),
    "gpytorch_calls": (6, "sums of the engine, a crash"),
    "linear_operator_calls": (1, "rounding of an ill-conditioned solve"),
    "small_calls": (1, "an option"),
}
