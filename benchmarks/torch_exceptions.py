"""Rows of torch's databases that do not pass and should not, each with its reason: quirks of torch, or of the sample.

A key is the name of an operator or module, and a dtype behind a colon where only that one has the quirk.
"""

EXCEPTIONS: dict[str, str] = {
    "as_strided": "reads the storage of its input by position: equal values in another layout are another call",
    "as_strided.partial_views": "reads the storage of its input by position: equal values in another layout are another call",
    "as_strided_copy": "reads the storage of its input by position: equal values in another layout are another call",
    "as_strided_scatter": "writes to storage by position, and torch's gradient takes overlapping and partial views for whole",
    "masked.median": "nanmedian of an expanded vector reads past its one number: another value than of a contiguous copy",
    "native_group_norm": "a loss of its mean alone gets a zero gradient; strides of an expanded weight are ignored",
    "nn.functional.max_pool3d": "without a batch, torch's backward raises for a channels_last grad_output",
    "nn.functional.max_unpool2d": "a repeated index gets the gradient twice; transposed indices raise in backward",
    "nn.functional.max_unpool2d.grad": "transposed indices, which the forward takes, raise in torch's backward",
    "nn.functional.max_unpool3d": "a repeated index gets the gradient twice; transposed indices raise in backward",
    "nn.functional.max_unpool3d.grad": "transposed indices, which the forward takes, raise in torch's backward",
    "nn.NLLLoss": "a transposed 4-D input, which the forward takes, raises in torch's backward",
    "nn.CTCLoss": "torch's gradient is that of the logits before log_softmax, not that of the forward",
    "nn.LPPool1d": "a power of a negative sum is NaN, forward and backward",
    "nn.LPPool2d": "a power of a negative sum is NaN, forward and backward",
    "nn.LPPool3d": "a power of a negative sum is NaN, forward and backward",
    "nn.PoissonNLLLoss": "the gradient of a target below zero is NaN, from the Stirling term that is not selected there",
    "__rpow__": "a negative base to a fraction is NaN, forward and backward",
    "chalf": "complex32, in which torch hardly computes, is refused",
    "sparse.sampled_addmm": "an input in CSR layout is refused",
    "sparse.mm.reduce": "an input in CSR layout is refused",
    "linalg.householder_product": "of no reflections: the output does not depend on an input",
    "masked.norm": "with everything masked the output does not depend on an input",
    "matrix_exp:bfloat16": "torch's gradient in bfloat16 is NaN, and that in float32 is not",
    "logcumsumexp:bfloat16": "the backward takes the logarithm of grad_output, whose rounding in bfloat16 is a part in fifty",
    "_softmax_backward_data:float32": "computes in float32 whatever its inputs are: its argument input_dtype says so",
    "nn.KLDivLoss": "the sample takes the logarithm of negative numbers, so the output is NaN",
}
