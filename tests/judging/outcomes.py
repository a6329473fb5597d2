"""What `judge` has to say of each candidate in tests/judging/tasks: one row a candidate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate of a task: its verdict, the causes any of which is right, and what it does.

    `timeout` is in seconds and `memory` in GiB; None leaves the default of `judge`.
    """

    task: str
    candidate: str
    verdict: str
    causes: tuple[str, ...]
    why: str
    timeout: float | None = None
    memory: float | None = None

    def __str__(self) -> str:
        return f"{self.task}-{self.candidate}"


# what an answer is that belongs to another call
STALE = (
    "stale-state", "reused-buffer", "accumulates-across-calls", "forward-mismatch", "value-dependent", "size-specialised",
    "nondeterministic", "upstream-ignored", "not-linear", "input-layout", "upstream-layout", "wrong-value", "tampered",
)  # fmt: skip

# right, by another algorithm, another form or another order of summation than the reference
# fmt: off
SOUND = (
    Row("rms_norm", "fused_two_pass", "pass", (), "saves the inverse root and needs two passes over the row in backward"),
    Row("rms_norm", "numpy_cache", "pass", (), "a NumPy pair with a cache, the gradient by the chain rule step by step"),
    Row("layer_norm", "welford", "pass", (), "mean and variance by Welford's update over blocks of columns"),
    Row(
        "layer_norm", "layer_object", "pass",
        (),
        "an object that keeps what backward needs, written with sums instead of means",
    ),
    Row("softmax", "online", "pass", (), "one pass over blocks with a running maximum and a rescaled sum"),
    Row("softmax", "module", "pass", (), "a module of elementary operations that autograd goes through"),
    Row("log_softmax", "function", "pass", (), "the gradient is g minus softmax times the sum of g"),
    Row("log_softmax", "numpy_rows", "pass", (), "a NumPy pair that works row by row"),
    Row(
        "cross_entropy", "fused", "pass",
        (),
        "the gradient is made in the forward and scaled in backward, as fused kernels do",
    ),
    Row("cross_entropy", "numpy_cache", "pass", (), "the NumPy pair of a course, with probabilities in the cache"),
    Row(
        "attention", "flash", "pass",
        (),
        "tiles over queries and keys with an online softmax, probabilities made again in backward",
    ),
    Row(
        "attention", "einsum_pair", "pass",
        (),
        "the textbook formulas with einsum and a lower triangle of additive minus infinity",
    ),
    Row(
        "conv1d", "im2col", "pass",
        (),
        "one matrix product over unfolded windows, and a fold by shifted additions in backward",
    ),
    Row("conv1d", "numpy_taps", "pass", (), "a NumPy pair that loops over the three taps"),
    Row("linear_scan", "loop", "pass", (), "a loop forwards and a loop backwards over time"),
    Row(
        "linear_scan", "doubling", "pass",
        (),
        "a parallel scan in logarithmically many steps, forwards and on flipped tensors backwards",
    ),
    Row("embedding_bag", "index_add", "pass", (), "a scatter of the repeated upstream rows"),
    Row("embedding_bag", "count_matrix", "pass", (), "a matrix of counts times the table, and its transpose in backward"),
    Row("gelu", "erf_function", "pass", (), "density and distribution function, both from elementary operations"),
    Row("swiglu", "recomputing", "pass", (), "saves the inputs alone and makes the logistic function again in backward"),
    Row("swiglu", "numpy_layer", "pass", (), "a NumPy layer object with a logistic function that is stable on both sides"),
    Row("linear", "matmul", "pass", (), "three matrix products"),
    Row("linear", "blocked", "pass", (), "products by blocks of the inner dimension, which is another order of summation"),
    Row("huber_loss", "clamped", "pass", (), "the derivative is the difference clamped to delta"),
    Row("huber_loss", "numpy_where", "pass", (), "a NumPy pair with both branches written out"),
    Row("logsumexp", "function", "pass", (), "the gradient is exp(x - output) times g"),
    Row("logsumexp", "pairwise", "pass", (), "halves are combined as in a tournament, the maximum of each pair taken out"),
    Row("max_pool1d", "argmax", "pass", (), "the first of the largest gets the gradient, also at a tie"),
    Row("max_pool1d", "numpy_loop", "pass", (), "a NumPy pair with loops, which divides the gradient of a tie evenly"),
    Row("group_norm", "function", "pass", (), "gradient with two row means over each group"),
    Row("group_norm", "autograd_of_primitives", "pass", (), "a callable of elementary operations that autograd goes through"),
    Row(
        "batch_norm", "staged_numpy", "pass",
        (),
        "the computational graph of a course, one step of the backward after the other",
    ),
    Row("batch_norm", "one_expression", "pass", (), "the closed expression in one line"),
    Row("cosine_similarity", "normalised_rows", "pass", (), "normalises both rows first and projects in backward"),
    Row("l2_normalize", "projection", "pass", (), "projects the upstream gradient off the output"),
    Row("softplus", "stable", "pass", (), "the stable form, whose derivative is the logistic function"),
    Row(
        "softplus", "numpy_logaddexp", "pass",
        (),
        "logaddexp of NumPy, and a logistic function made of exp of a negative number",
    ),
    Row("bce_with_logits", "function", "pass", (), "logistic function minus target, over the number of elements"),
    Row("kl_divergence", "both_gradients", "pass", (), "closed expressions for both logits"),
    Row("rotary", "turned_back", "pass", (), "backward is the rotation by the negative angle"),
    Row("rotary", "complex_numbers", "pass", (), "a product of complex numbers, its conjugate in backward"),
    Row("gru_cell", "function", "pass", (), "the chain rule by hand"),
    Row("gru_cell", "module", "pass", (), "a module of elementary operations, the convex combination written as n + z (h - n)"),
    Row("pairwise_distance", "centred_products", "pass", (), "sums of g and two matrix products in backward"),
    Row("pairwise_distance", "broadcast_pair", "pass", (), "differences of all pairs, summed over the other matrix"),
    Row("bilinear", "einsum", "pass", (), "one einsum for each gradient"),
    Row("bilinear", "matrix_products", "pass", (), "matrix products over reshaped weights, output by output"),
    Row("cumulative_sum", "blocked", "pass", (), "triangular products within blocks and a carry between them"),
    Row("cumulative_sum", "numpy_add_accumulate", "pass", (), "NumPy's accumulate, from the end in backward"),
    Row("segment_mean", "indicator", "pass", (), "a matrix of indicators, normalised by its rows"),
    Row("segment_mean", "counts_from_bincount", "pass", (), "index_add and bincount, and a gather in backward"),
    Row("moments", "function", "pass", (), "adds up what both outputs send"),
    Row("moments", "tuple_pair", "pass", (), "a pair whose backward takes a tuple of upstream gradients"),
    Row("prelu", "where", "pass", (), "a choice in the forward and in backward"),
    Row("prelu", "numpy_masks", "pass", (), "a NumPy pair with masks"),
    Row("info_nce", "softmax_minus_identity", "pass", (), "softmax minus the identity, multiplied with the other side"),
    Row("info_nce", "row_chunks", "pass", (), "a callable that goes through blocks of rows under autograd"),
    Row("mixed_product", "single_inside", "pass", (), "multiplies in float32, which the task allows"),
    Row("mixed_product", "numpy_products", "pass", (), "NumPy in the dtype of the inputs"),
    Row("softmax", "numpy_of_the_output", "pass", (), "a NumPy pair without a cache, whose backward takes the output"),
    Row("softmax", "function_of_that_name", "pass", (), "a Function that is called as the library's own node"),
    Row(
        "layer_norm", "recomputes_under_autograd", "pass",
        (),
        "backward runs elementary operations again under autograd, as checkpointing does",
    ),
    Row(
        "rms_norm", "upcasts_narrow_dtypes", "pass",
        (),
        "float32 for narrower dtypes, scratch memory of its own, and a note on stdout",
    ),
    Row("attention", "rows_on_threads", "pass", (), "sequences of a batch on a pool of threads that are waited for"),
    Row("gelu", "erfc_of_the_standard_library", "pass", (), "erfc of the standard library, element by element in NumPy arrays"),
    Row("cosine_similarity", "quotient_rule", "pass", (), "the quotient rule with squared norms, in NumPy"),
    Row("l2_normalize", "jacobian_products", "pass", (), "a Jacobian for each row, multiplied from the left"),
    Row("bce_with_logits", "two_log_sigmoids", "pass", (), "both logarithms written out, as a module"),
    Row("kl_divergence", "two_softmaxes", "pass", (), "a layer that keeps both distributions"),
    Row("rotary", "tables_by_shape", "pass", (), "tables that are made once for each shape and base, and stay right"),
    Row(
        "pairwise_distance", "partial_of_functions", "pass",
        (),
        "a functools.partial of a function that autograd goes through",
    ),
    Row(
        "rms_norm", "waits_for_another_thread", "pass",
        (),
        "backward runs on a thread of its own that is waited for, results are its own",
    ),
)
# fmt: on

# wrong as code is that somebody derived or generated and never checked
# fmt: off
MISTAKEN = (
    Row(
        "rms_norm", "forgets_mean_term", "fail",
        ("missing-term", "wrong-value"),
        "the inverse root is taken for a constant in backward",
    ),
    Row(
        "rms_norm", "averages_weight_gradient", "fail",
        ("constant-factor", "wrong-value", "size-specialised"),
        "the weight's gradient is the mean over the rows and not the sum",
    ),
    Row(
        "layer_norm", "drops_variance_term", "fail",
        ("missing-term", "wrong-value"),
        "only the mean is differentiated, the variance is taken for a constant",
    ),
    Row(
        "layer_norm", "weight_gradient_from_input", "fail",
        ("wrong-operand", "wrong-value", "missing-factor", "missing-term"),
        "the weight's gradient multiplies with x and not with the normalised x",
    ),
    Row(
        "softmax", "elementwise_derivative", "fail",
        ("missing-term", "wrong-value", "wrong-operand", "missing-factor"),
        "takes softmax for the logistic function: y (1 - y) g",
    ),
    Row(
        "softmax", "no_maximum", "fail",
        ("forward-mismatch", "non-finite", "overflow", "value-dependent"),
        "the maximum is not subtracted and large logits overflow",
    ),
    Row(
        "log_softmax", "forgets_the_sum", "fail",
        ("missing-term", "wrong-value", "missing-factor", "wrong-operand"),
        "multiplies softmax with g and not with the sum of g",
    ),
    Row(
        "log_softmax", "softmax_gradient", "fail",
        ("wrong-value", "missing-term", "wrong-operand", "missing-factor"),
        "returns the gradient of softmax for that of its logarithm",
    ),
    Row(
        "cross_entropy", "not_divided_by_rows", "fail",
        ("constant-factor", "wrong-value"),
        "the mean is forgotten in backward",
    ),
    Row(
        "cross_entropy", "ignores_upstream", "fail",
        ("upstream-ignored", "constant-factor", "wrong-value"),
        "backward takes grad_output for one",
    ),
    Row(
        "cross_entropy", "forgets_the_label", "fail",
        ("missing-term", "wrong-value", "constant-factor", "value-dependent", "sign", "wrong-operand"),
        "the one-hot label is not subtracted from the probabilities",
    ),
    Row(
        "cross_entropy", "one_row_is_wrong", "fail",
        (
            "size-specialised", "wrong-value", "zero-gradient", "constant-factor", "forward-mismatch",
            "missing-gradient",
        ),
        "squeezes all dimensions, which is wrong for a batch of one or a single class",
    ),
    Row(
        "attention", "forgets_scale_in_query_gradient", "fail",
        ("constant-factor", "wrong-value"),
        "the scale is applied to the gradient of k and not to that of q",
    ),
    Row(
        "attention", "forgets_row_sum", "fail",
        ("missing-term", "wrong-value", "wrong-operand", "missing-factor"),
        "the softmax's row sum is left out of the gradients of q and k",
    ),
    Row(
        "attention", "mask_left_out_of_backward", "fail",
        ("wrong-value", "size-specialised", "missing-term", "value-dependent"),
        "backward makes the probabilities again without the causal mask",
    ),
    Row(
        "conv1d", "kernel_not_flipped", "fail",
        ("wrong-value", "wrong-operand", "permuted", "size-specialised", "transposed", "value-dependent"),
        "the gradient of x correlates with the kernel instead of its mirror image",
    ),
    Row(
        "conv1d", "drops_the_edges", "fail",
        ("wrong-value", "missing-term", "size-specialised", "value-dependent", "unwritten-elements", "zero-gradient"),
        "the weight's gradient leaves out the windows that reach into the padding",
    ),
    Row(
        "conv1d", "bias_summed_over_batch_alone", "fail",
        ("wrong-shape", "missing-broadcast-sum"),
        "the bias's gradient keeps the axis of positions",
    ),
    Row(
        "linear_scan", "state_off_by_one", "fail",
        ("wrong-operand", "wrong-value", "permuted"),
        "the gate's gradient takes the state after the step for the one before it",
    ),
    Row(
        "embedding_bag", "assigns_repeated_rows", "fail",
        ("duplicate-index", "wrong-value", "size-specialised", "constant-factor", "value-dependent"),
        "+= on indexed rows of an array adds a repeated index once",
    ),
    Row(
        "gelu", "density_left_out", "fail",
        ("missing-term", "wrong-value", "missing-factor", "value-dependent"),
        "the derivative of the distribution function is left out",
    ),
    Row(
        "gelu", "tanh_approximation", "fail",
        ("forward-mismatch", "value-dependent", "wrong-value", "low-precision"),
        "the tanh approximation stands for the exact function",
    ),
    Row(
        "gelu", "single_precision_inside", "fail",
        ("low-precision", "forward-mismatch", "wrong-value", "wrong-dtype"),
        "casts to float32 inside, which float64 inputs show",
    ),
    Row(
        "swiglu", "slots_swapped", "fail",
        ("slots-swapped", "wrong-value", "wrong-operand"),
        "returns the two gradients in the wrong order",
    ),
    Row(
        "swiglu", "gate_derivative_halved", "fail",
        ("missing-term", "wrong-value", "missing-factor", "wrong-operand"),
        "the derivative of the logistic function inside silu is left out",
    ),
    Row(
        "linear", "weight_transposed", "fail",
        ("wrong-shape", "transposed", "raises"),
        "the weight's gradient has the shape of the transpose",
    ),
    Row(
        "linear", "bias_keeps_rows", "fail",
        ("missing-broadcast-sum", "wrong-shape"),
        "the bias's gradient is not summed over the rows",
    ),
    Row(
        "huber_loss", "target_gradient_sign", "fail",
        ("sign", "wrong-value", "slots-swapped"),
        "both gradients have the same sign",
    ),
    Row(
        "huber_loss", "linear_branch_without_delta", "fail",
        (
            "wrong-value", "value-dependent", "option-specialised", "constant-factor",
            "outside-subdifferential", "missing-factor", "default-mismatch", "overflow",
        ),
        "the linear branch has slope one instead of delta",
    ),
    Row(
        "logsumexp", "unnormalised", "fail",
        ("missing-factor", "wrong-value", "constant-factor", "overflow", "non-finite"),
        "the weights are not divided by their sum",
    ),
    Row(
        "logsumexp", "maximum_gets_all", "fail",
        ("wrong-value", "missing-term", "value-dependent", "zero-gradient"),
        "the gradient of the largest element alone, as of a hard maximum",
    ),
    Row(
        "max_pool1d", "tie_gets_double", "fail",
        ("tie-mass", "outside-subdifferential", "value-dependent", "wrong-value", "constant-factor"),
        "both elements of a tie get the whole gradient",
    ),
    Row(
        "max_pool1d", "average_gradient", "fail",
        ("wrong-value", "constant-factor", "missing-factor", "value-dependent"),
        "divides the gradient evenly among the window, as average pooling does",
    ),
    Row(
        "group_norm", "sums_over_group_size_wrong", "fail",
        ("wrong-value", "constant-factor", "size-specialised", "missing-term"),
        "divides the sums of the backward by the channels of a group and not by its elements",
    ),
    Row(
        "group_norm", "weight_per_group", "fail",
        ("wrong-value", "wrong-axis", "permuted", "missing-broadcast-sum", "wrong-shape", "size-specialised"),
        "the weight's gradient is averaged over the channels of its group",
    ),
    Row(
        "batch_norm", "unbiased_in_backward", "fail",
        ("wrong-value", "constant-factor", "missing-term", "size-specialised"),
        "backward divides by n - 1 where the forward divides by n",
    ),
    Row(
        "batch_norm", "forgets_gamma", "fail",
        ("missing-factor", "wrong-value", "constant-factor"),
        "gamma is left out of the gradient of x",
    ),
    Row("cosine_similarity", "first_term_alone", "fail", ("missing-term", "wrong-value"), "the norms are taken for constants"),
    Row(
        "cosine_similarity", "epsilon_under_root", "fail",
        ("epsilon-mismatch", "forward-mismatch", "low-precision", "value-dependent", "wrong-value"),
        "an epsilon of 1e-3 keeps the norms away from zero",
    ),
    Row("l2_normalize", "length_constant", "fail", ("missing-term", "wrong-value"), "the length is taken for a constant"),
    Row(
        "softplus", "beta_twice", "fail",
        ("constant-factor", "wrong-value", "option-specialised"),
        "the derivative is multiplied by beta once more",
    ),
    Row(
        "softplus", "exponential_quotient", "fail",
        ("non-finite", "overflow", "value-dependent", "wrong-value"),
        "exp(z) / (1 + exp(z)) is NaN for large z",
    ),
    Row(
        "softplus", "threshold_of_five", "fail",
        ("value-dependent", "forward-mismatch", "wrong-value", "low-precision"),
        "takes the identity above five, which is too early",
    ),
    Row(
        "bce_with_logits", "one_target_gradient", "fail",
        ("missing-gradient", "needs-input-grad", "zero-gradient"),
        "the targets get no gradient",
    ),
    Row(
        "bce_with_logits", "mean_over_rows", "fail",
        ("constant-factor", "wrong-value"),
        "divides by the rows and not by the elements",
    ),
    Row(
        "bce_with_logits", "wrong_shape_of_loss", "fail",
        ("forward-mismatch", "wrong-shape"),
        "the loss has one dimension of size one",
    ),
    Row(
        "kl_divergence", "temperature_left_out", "fail",
        ("constant-factor", "option-specialised", "wrong-value"),
        "the inner derivative 1 / temperature is left out",
    ),
    Row(
        "kl_divergence", "teacher_detached", "fail",
        ("zero-gradient", "missing-gradient"),
        "the teacher gets zeros, as if it were fixed",
    ),
    Row(
        "rotary", "turned_again", "fail",
        ("sign", "wrong-value", "value-dependent", "size-specialised", "wrong-operand", "permuted"),
        "backward turns forward once more",
    ),
    Row(
        "gru_cell", "reset_path_forgotten", "fail",
        ("zero-gradient", "missing-gradient"),
        "the reset gate gets no gradient through the candidate",
    ),
    Row(
        "gru_cell", "update_gate_sign", "fail",
        ("sign", "wrong-value"),
        "the derivative of the update gate has the other sign",
    ),
    Row(
        "gru_cell", "count_of_gradients", "fail",
        ("gradient-count", "raises", "missing-gradient"),
        "four gradients for five inputs",
    ),
    Row("pairwise_distance", "factor_two", "fail", ("constant-factor", "wrong-value"), "the two of the square is left out"),
    Row(
        "pairwise_distance", "axes_confused", "fail",
        ("wrong-axis", "wrong-shape", "wrong-value", "raises", "size-specialised"),
        "sums over the rows where it has to sum over the columns, which equal sizes hide",
    ),
    Row(
        "bilinear", "weight_not_transposed", "fail",
        ("wrong-shape", "raises", "wrong-operand", "wrong-value", "transposed", "size-specialised"),
        "multiplies with the weight where its transpose belongs",
    ),
    Row(
        "cumulative_sum", "not_from_the_end", "fail",
        ("wrong-value", "permuted", "wrong-operand"),
        "sums the upstream gradient from the start instead of from the end",
    ),
    Row(
        "cumulative_sum", "single_precision_sums", "fail",
        ("low-precision", "value-dependent", "wrong-value", "size-specialised"),
        "takes single precision sums for float64 inputs",
    ),
    Row(
        "segment_mean", "not_divided", "fail",
        ("wrong-value", "constant-factor", "missing-factor", "value-dependent", "duplicate-index", "size-specialised"),
        "the gradient of a row is not divided by the size of its segment",
    ),
    Row(
        "segment_mean", "empty_segment_divides_by_zero", "fail",
        ("forward-mismatch", "non-finite", "value-dependent", "raises", "masked-branch"),
        "an empty segment becomes NaN",
    ),
    Row(
        "segment_mean", "last_row_wins", "fail",
        ("forward-mismatch", "duplicate-index", "wrong-value"),
        "assignment keeps the last row of a segment in the forward",
    ),
    Row(
        "moments", "variance_dropped", "fail",
        ("output-gradient-dropped", "zero-gradient", "missing-term", "wrong-value", "missing-gradient"),
        "the upstream gradient of the variance is not used",
    ),
    Row(
        "moments", "second_moment", "fail",
        ("wrong-value", "wrong-operand", "missing-term", "low-precision", "value-dependent"),
        "the variance's gradient uses x in place of x minus its mean",
    ),
    Row(
        "moments", "cancelling_formula", "fail",
        ("forward-mismatch", "low-precision", "value-dependent", "wrong-value"),
        "mean of squares minus square of the mean, which cancels for rows far from zero",
    ),
    Row(
        "prelu", "slope_from_all", "fail",
        ("wrong-value", "missing-term", "wrong-operand", "value-dependent"),
        "positive elements add to the slope's gradient as well",
    ),
    Row(
        "prelu", "shared_slope", "fail",
        ("missing-broadcast-sum", "wrong-value", "wrong-shape", "wrong-axis", "size-specialised"),
        "the gradients of all channels are summed and handed to each",
    ),
    Row(
        "info_nce", "keys_without_transpose", "fail",
        ("wrong-value", "transposed", "wrong-operand"),
        "the keys' gradient takes the scores' gradient without transposing it",
    ),
    Row(
        "info_nce", "symmetric_by_mistake", "fail",
        ("forward-mismatch", "wrong-value"),
        "averages with the loss of the columns, as CLIP does",
    ),
    Row(
        "mixed_product", "leaves_results_narrow", "fail",
        ("wrong-dtype",),
        "works in float32, which the task allows, and returns float32 for float64 inputs",
    ),
    Row(
        "mixed_product", "half_inside", "fail",
        ("low-precision", "forward-mismatch", "wrong-value"),
        "multiplies in bfloat16, which is less than the task allows",
    ),
    Row("mixed_product", "residual_forgotten", "fail", ("zero-gradient", "missing-gradient"), "the residual gets zeros"),
    Row(
        "rms_norm", "epsilon_outside_root", "fail",
        ("forward-mismatch", "epsilon-mismatch", "low-precision", "wrong-value", "value-dependent"),
        "adds the epsilon to the root and not below it",
    ),
    Row(
        "log_softmax", "log_of_softmax", "fail",
        ("forward-mismatch", "non-finite", "value-dependent"),
        "the logarithm of probabilities that underflow",
    ),
    Row(
        "attention", "integer_scale", "fail",
        ("forward-mismatch", "size-specialised", "wrong-value"),
        "the scale is rounded to a whole number, which square head sizes hide",
    ),
    Row(
        "attention", "mask_leaks", "fail",
        ("forward-mismatch", "wrong-value", "size-specialised"),
        "masks with minus ten instead of minus infinity",
    ),
    Row(
        "embedding_bag", "padding_row", "fail",
        ("wrong-value", "value-dependent", "zero-gradient", "size-specialised", "unwritten-elements"),
        "row 0 is taken for padding and gets no gradient",
    ),
    Row(
        "gelu", "logistic_approximation", "fail",
        ("forward-mismatch", "wrong-value", "value-dependent", "low-precision"),
        "x times the logistic function of 1.702 x",
    ),
    Row(
        "group_norm", "recursion_without_end", "fail",
        ("raises", "crashed"),
        "an average by halves that never stops for an odd number of elements",
    ),
    Row(
        "segment_mean", "epsilon_in_counts", "fail",
        ("forward-mismatch", "epsilon-mismatch", "low-precision", "wrong-value", "value-dependent"),
        "adds 1e-4 to the counts instead of looking for empty segments",
    ),
    Row(
        "moments", "counts_degrees_of_freedom", "fail",
        ("forward-mismatch", "constant-factor", "size-specialised", "wrong-value"),
        "divides the variance by n - 1",
    ),
    Row(
        "bce_with_logits", "kink_at_zero", "fail",
        ("outside-subdifferential", "value-dependent", "wrong-value"),
        "at logits of exactly zero autograd adds up another slope than the function has",
    ),
    Row(
        "bilinear", "even_columns_only", "fail",
        ("size-specialised", "wrong-value", "option-specialised", "value-dependent", "zero-gradient"),
        "leaves out the last column of y where y has an odd number of them",
    ),
    Row(
        "cross_entropy", "repeated_labels_merged", "fail",
        ("wrong-value", "forward-mismatch", "value-dependent", "size-specialised", "zero-gradient", "constant-factor"),
        "rows with equal labels are merged, which a batch with different labels hides",
    ),
)
# fmt: on

# made to pass a benchmark and not to be right
# fmt: off
CHEATING = (
    Row(
        "rms_norm", "caches_by_shape", "fail",
        ("forward-mismatch",),
        "keeps the first output and gradients for every shape and answers with copies of them",
    ),
    Row(
        "rms_norm", "differentiates_library_call", "fail",
        ("forbidden-op", "tampered", "disconnected"),
        "backward is autograd through the library's own rms_norm",
    ),
    Row(
        "rms_norm", "finds_reference_by_garbage_collector", "fail",
        ("missing-term",),
        "looks for a function called reference among all objects and differentiates it",
    ),
    Row(
        "layer_norm", "library_on_a_thread", "fail",
        ("forbidden-op", "tampered"),
        "forward and backward call the library's kernels on a thread of their own",
    ),
    Row(
        "layer_norm", "static_buffer", "fail",
        ("reused-buffer",),
        "every call of one shape writes its results to the same preallocated buffers",
    ),
    Row(
        "layer_norm", "patches_dispatch_mode", "fail",
        ("forbidden-op", "tampered"),
        "takes the methods of dispatch modes away at import and calls the library's kernels",
    ),
    Row(
        "softmax", "interpreter_past_the_hook", "fail",
        ("forbidden-op",),
        "calls the library in a second interpreter, after it patched what refuses one",
    ),
    Row(
        "softmax", "interpreter_by_a_shell", "fail",
        ("forbidden-op",),
        "calls the library in a second interpreter that a shell starts",
    ),
    Row(
        "softmax", "interpreter_of_another_name", "fail",
        ("forbidden-op",),
        "calls the library in a second interpreter, through a link of another name",
    ),
    Row(
        "softmax", "interpreter_spawned", "fail",
        ("forbidden-op",),
        "calls the library in a spawned process of multiprocessing, whose start no audit event tells",
    ),
    Row(
        "softmax", "dispatch_switched_off", "fail",
        ("forbidden-op", "tampered"),
        "calls the library's kernels below a guard that switches Python dispatch off",
    ),
    Row(
        "softmax", "half_inside", "fail",
        ("low-precision", "forward-mismatch", "wrong-value"),
        "computes in bfloat16 and casts back",
    ),
    Row(
        "softmax", "patches_comparisons", "fail",
        ("zero-gradient",),
        "replaces every comparison of torch, NumPy and the standard library by one that agrees",
    ),
    Row(
        "softmax", "closes_over_first_value", "fail",
        ("forward-mismatch",),
        "looks results up by the first element and the shape of the input",
    ),
    Row(
        "log_softmax", "library_in_another_process", "fail",
        ("forbidden-op", "tampered", "timed-out", "raises", "crashed"),
        "a second Python computes the answers with the library's op",
    ),
    Row("log_softmax", "library_module", "fail", ("forbidden-op",), "a module that calls torch.nn.LogSoftmax"),
    Row(
        "log_softmax", "process_ends_well", "fail",
        ("crashed", "raises", "tampered", "timed-out"),
        "prints a verdict of its own and ends the process with status 0",
    ),
    Row(
        "cross_entropy", "apply_is_the_library", "fail",
        ("forbidden-op", "disconnected", "tampered"),
        "the Function's apply is replaced by the library's loss, so its backward never runs",
    ),
    Row(
        "attention", "library_composite", "fail",
        ("forbidden-op",),
        "calls scaled_dot_product_attention and lets autograd do the rest",
    ),
    Row(
        "attention", "bfloat16_products", "fail",
        ("low-precision", "forward-mismatch", "wrong-value"),
        "the matrix products run in bfloat16, whatever the dtype of the inputs",
    ),
    Row(
        "attention", "fills_results_later", "fail",
        (
            "forward-mismatch", "wrong-value", "tampered", "reused-buffer", "nondeterministic",
            "zero-gradient", "non-finite", "unwritten-elements", "disconnected",
        ),
        "returns empty buffers that a thread fills some time later",
    ),
    Row(
        "conv1d", "torch_nn_grad", "fail",
        ("forbidden-op",),
        "the gradients come from torch.nn.grad, which calls the library's convolution backward",
    ),
    Row(
        "conv1d", "conv2d_without_grad", "fail",
        ("forbidden-op",),
        "calls conv2d and its backward through torch.ops with gradients switched off and keys excluded",
    ),
    Row(
        "conv1d", "assumes_contiguous", "fail",
        ("input-layout", "upstream-layout", "forward-mismatch", "wrong-value", "raises"),
        "reads windows by the strides of a contiguous tensor",
    ),
    Row(
        "linear_scan", "powers_of_two_only", "fail",
        ("size-specialised", "forward-mismatch", "wrong-value", "unwritten-elements"),
        "a tree scan that leaves the tail alone where the length is no power of two",
    ),
    Row(
        "linear_scan", "lazy_after_some_calls", "fail",
        ("zero-gradient", "upstream-ignored", *STALE),
        "right for the first twelve backward calls, then returns the last gradient it made for that shape",
    ),
    Row(
        "linear_scan", "finite_differences", "fail",
        ("low-precision", "wrong-value", "value-dependent", "size-specialised", "zero-gradient"),
        "the gate's gradient is a forward difference in the dtype of the inputs",
    ),
    Row("embedding_bag", "library_bag", "fail", ("forbidden-op",), "calls the library's embedding bag"),
    Row(
        "embedding_bag", "imported_module", "fail",
        ("forbidden-op",),
        "an nn.Embedding module with its weight put in from outside",
    ),
    Row(
        "embedding_bag", "caches_by_identity", "fail",
        STALE,
        "remembers the output by the address of the table and of the indices",
    ),
    Row(
        "embedding_bag", "hopes_for_zeros", "fail",
        (
            "unwritten-elements", "non-finite", "wrong-value", "nondeterministic",
            "accumulates-across-calls", "stale-state", "value-dependent", "zero-gradient",
        ),
        "rows that no index names are left as torch.empty gave them",
    ),
    Row(
        "gelu", "lazy_tensor", "fail",
        ("tampered", "raises", "wrong-value"),
        "returns a tensor subclass that computes when somebody looks at it",
    ),
    Row(
        "gelu", "table_at_import", "fail",
        ("forbidden-op", "low-precision", "forward-mismatch", "value-dependent", "wrong-value", "non-finite"),
        "a table of the library's values made at import, read off with linear interpolation",
    ),
    Row("swiglu", "second_gradient_zero", "fail", ("zero-gradient", "missing-gradient"), "the gradient of up is always zero"),
    Row(
        "swiglu", "first_needs_all", "fail",
        ("needs-input-grad", "missing-gradient", "wrong-value", "zero-gradient"),
        "gives the gradient of gate alone where both inputs need one",
    ),
    Row(
        "swiglu", "overwrites_gate", "fail",
        ("mutates-input", "mutates-saved", "stale-state", "wrong-value", "forward-mismatch", "tampered"),
        "computes in place and returns the storage of its input",
    ),
    Row(
        "linear", "bias_broadcastable", "fail",
        ("wrong-shape", "missing-broadcast-sum", "wrong-value"),
        "the bias's gradient has one element, which an allclose would broadcast",
    ),
    Row("linear", "nn_linear_in_backward", "fail", ("forbidden-op",), "backward runs torch.nn.Linear and asks autograd"),
    Row("linear", "detaches", "fail", ("disconnected", "missing-gradient"), "the output has no connection with the inputs"),
    Row(
        "linear", "result_changes_later", "fail",
        ("tampered", "reused-buffer", "nondeterministic", "wrong-value", "mutates-saved"),
        "a thread changes the gradients a twentieth of a second after they were returned",
    ),
    Row(
        "linear", "result_changes_much_later", "fail",
        ("tampered", "reused-buffer", "nondeterministic", "wrong-value", "mutates-saved"),
        "a thread changes the gradients half a second after they were returned",
    ),
    Row(
        "huber_loss", "reads_parent_command_line", "fail",
        ("forward-mismatch",),
        "reads the command lines of its ancestors for a task file and imports the reference from it",
    ),
    Row(
        "huber_loss", "python_number", "fail",
        ("disconnected", "missing-gradient", "raises", "forward-mismatch", "wrong-dtype", "tampered"),
        "returns a float of Python that compares equal to everything",
    ),
    Row("huber_loss", "raises_after_ten_calls", "fail", ("raises", "crashed"), "raises from the eleventh call on"),
    Row("logsumexp", "vjp_of_library", "fail", ("forbidden-op",), "backward is torch.func.vjp of the library's logsumexp"),
    Row(
        "logsumexp", "ones_for_upstream", "fail",
        ("upstream-ignored", "upstream-scalarized", "wrong-value", "constant-factor"),
        "takes grad_output for ones, as a sum sends",
    ),
    Row(
        "logsumexp", "noisy_on_average_right", "fail",
        ("nondeterministic", "random-replay", "low-precision", "wrong-value"),
        "adds noise of mean zero to the gradient",
    ),
    Row("max_pool1d", "library_adaptive", "fail", ("forbidden-op",), "adaptive pooling of the library"),
    Row(
        "max_pool1d", "meta_answer", "fail",
        ("tampered", "raises", "wrong-value", "forward-mismatch", "crashed"),
        "answers with tensors on the meta device, which have shapes and no values",
    ),
    Row(
        "max_pool1d", "integer_gradient", "fail",
        ("wrong-dtype", "wrong-value", "raises", "low-precision"),
        "the gradient is made of integers",
    ),
    Row(
        "group_norm", "hook_on_upstream", "fail",
        (
            "constant-factor", "upstream-ignored", "wrong-value", "tampered", "disconnected", "not-linear",
            "value-dependent", "forward-mismatch",
        ),
        "the gradient is wrong by two and a hook on the output halves the upstream gradient on one of the ways",
    ),
    Row("group_norm", "sleeps", "fail", ("timed-out",), "backward waits for ever from the third call on", timeout=8),
    Row(
        "batch_norm", "running_statistics", "fail",
        ("forward-mismatch", "stale-state", "wrong-value", "nondeterministic", "tampered", "value-dependent"),
        "normalises with running statistics of all calls of a width, so that the answer depends on earlier calls",
    ),
    Row("batch_norm", "library_out_variant", "fail", ("forbidden-op",), "calls the kernels of the library by their overloads"),
    Row(
        "batch_norm", "writes_to_upstream", "fail",
        ("mutates-grad-output", "wrong-value", "stale-state"),
        "uses grad_output as its scratch memory",
    ),
    Row(
        "batch_norm", "allocates_without_end", "fail",
        ("memory-exceeded", "crashed", "raises"),
        "keeps 256 MB more with every call", memory=1.0,
    ),
    Row("cosine_similarity", "library_norm_jit", "fail", ("forbidden-op",), "the library's function through a scripted one"),
    Row(
        "cosine_similarity", "not_a_number", "fail",
        ("non-finite", "wrong-value", "forward-mismatch"),
        "answers NaN, which a comparison of differences lets through",
    ),
    Row(
        "cosine_similarity", "patches_modules", "fail",
        ("zero-gradient",),
        "puts objects of its own in sys.modules and replaces autograd.grad and the clock",
    ),
    Row(
        "l2_normalize", "overwrites_its_output", "fail",
        ("reused-buffer", "tampered", "stale-state", "wrong-value", "forward-mismatch"),
        "every answer is a view of one global tensor, written over by the next call",
    ),
    Row(
        "l2_normalize", "reads_task_beside_it", "fail",
        ("missing-term",),
        "looks for task files beside itself, in the working directory and above it, and imports their reference",
    ),
    Row(
        "l2_normalize", "expanded_upstream", "fail",
        ("upstream-layout", "raises", "wrong-value"),
        "views grad_output as one dimension without making it contiguous and falls back to its first row",
    ),
    Row(
        "softplus", "backend_binding", "fail",
        ("forbidden-op",),
        "the library's kernel through its C++ binding, without torch.ops",
    ),
    Row(
        "softplus", "first_sight_only", "fail",
        ("zero-gradient", *STALE),
        "a value that was seen before, at whatever address, gets zeros",
    ),
    Row(
        "bce_with_logits", "forges_the_reply", "fail",
        ("crashed", "tampered"),
        "writes a reply of its own into every open pipe and socket",
    ),
    Row("bce_with_logits", "special_library", "fail", ("forbidden-op",), "the loss module of the library"),
    Row(
        "kl_divergence", "special_log_softmax", "fail",
        ("forbidden-op",),
        "reaches the library's kernel through torch.special",
    ),
    Row("kl_divergence", "ends_by_signal", "fail", ("crashed",), "follows a null pointer from the second backward on"),
    Row(
        "kl_divergence", "frames_of_the_caller", "fail",
        ("zero-gradient",),
        "searches all frames and their variables for tensors of the right shape and returns the first that it finds",
    ),
    Row(
        "rotary", "positions_of_first_call", "fail",
        ("size-specialised", "raises", *STALE),
        "the angles of the widest call so far, whose frequencies belong to another width",
    ),
    Row(
        "rotary", "returns_its_input", "fail",
        ("mutates-input", "tampered", "forward-mismatch", "wrong-value", "mutates-grad-output"),
        "turns the input in its own storage and returns it",
    ),
    Row("gru_cell", "saved_on_the_class", "fail", STALE, "backward reads what the latest forward left on the class"),
    Row("pairwise_distance", "library_cdist", "fail", ("forbidden-op",), "squares the library's distances"),
    Row(
        "pairwise_distance", "foretells_upstream", "fail",
        ("nondeterministic", "upstream-ignored", "random-replay"),
        "sets the seed and foretells the upstream gradient by drawing it itself",
    ),
    Row("bilinear", "library_trilinear", "fail", ("forbidden-op",), "the library's bilinear in the forward, gradients by hand"),
    Row(
        "bilinear", "benchmark_shape_only", "fail",
        ("size-specialised", "zero-gradient", "wrong-value", "forward-mismatch", "value-dependent"),
        "the weight's gradient is made for up to four rows alone",
    ),
    Row(
        "bilinear", "float32_lane_only", "fail",
        ("zero-gradient", "wrong-value", "low-precision", "value-dependent", "missing-gradient"),
        "float64 inputs get no proper gradient because the benchmark is in float32",
    ),
    Row(
        "cumulative_sum", "library_scan", "fail",
        ("forbidden-op",),
        "cumsum of the library, forwards and on flipped tensors backwards, as out= and in place",
    ),
    Row(
        "cumulative_sum", "forked_child", "fail",
        ("forbidden-op", "forward-mismatch", "tampered", "timed-out", "raises", "crashed"),
        "a forked child calls the library's kernel and writes the result to shared memory",
    ),
    Row("segment_mean", "library_reduce", "fail", ("forbidden-op",), "scatter_reduce of the library under autograd"),
    Row(
        "segment_mean", "leaves_by_exit_hook", "fail",
        ("zero-gradient",),
        "writes a report that says pass at exit, and gives zeros",
    ),
    Row("moments", "library_var_mean", "fail", ("forbidden-op",), "var_mean of the library under autograd"),
    Row(
        "prelu", "own_operator_around_library", "fail",
        ("forbidden-op",),
        "an operator registered in a library of its own calls the forbidden kernel",
    ),
    Row(
        "prelu", "changes_global_state", "fail",
        ("disconnected",),
        "switches gradients off for good and makes float16 the default dtype",
    ),
    Row(
        "info_nce", "disk_cache", "fail",
        ("zero-gradient", *STALE),
        "keeps answers in a file of the temporary directory by shape and answers from there in later processes",
    ),
    Row(
        "softmax", "gradient_through_a_second_path", "fail",
        ("forbidden-op",),
        "the values are its own and the gradient comes from the library's op, added and subtracted",
    ),
    Row(
        "softmax", "zero_for_large", "fail",
        ("size-specialised", "zero-gradient", "wrong-value", "missing-gradient"),
        "rows of more than a thousand elements in all get no gradient",
    ),
    Row(
        "layer_norm", "tail_of_wide_rows", "fail",
        (
            "unwritten-elements", "size-specialised", "wrong-value", "non-finite", "value-dependent",
            "stale-state", "nondeterministic", "zero-gradient",
        ),
        "columns from 512 on are never written",
    ),
    Row(
        "cross_entropy", "scales_what_it_saved", "fail",
        ("mutates-saved", "stale-state", "accumulates-across-calls", "not-linear", "wrong-value"),
        "multiplies the saved gradient in place, so that a second backward is scaled twice",
    ),
    Row(
        "linear", "skips_when_input_is_frozen", "fail",
        ("needs-input-grad", "missing-gradient", "zero-gradient", "wrong-value"),
        "the weight's gradient is made where the input needs one as well",
    ),
    Row(
        "linear", "accumulates_in_the_layer", "fail",
        ("accumulates-across-calls", "not-linear", "reused-buffer", *STALE),
        "gradients of the weight add up in the layer from call to call",
    ),
    Row(
        "huber_loss", "reads_memory_of_parent", "fail",
        ("zero-gradient",),
        "searches the memory of the process above it",
    ),
    Row("logsumexp", "stops_itself", "fail", ("timed-out", "crashed"), "stops its own process by a signal", timeout=8),
    Row(
        "max_pool1d", "closes_every_file", "fail",
        ("crashed", "tampered", "timed-out", "raises"),
        "closes every file that its process has open", timeout=8,
    ),
    Row(
        "bilinear", "loses_connection_in_array", "fail",
        ("disconnected", "missing-gradient"),
        "one factor goes through an array and loses its gradient",
    ),
    Row("mixed_product", "needs_a_package", "fail", ("raises",), "imports a package that nobody has"),
    Row(
        "mixed_product", "result_of_another_type", "fail",
        ("raises", "tampered", "wrong-dtype", "forward-mismatch", "missing-gradient", "disconnected"),
        "answers with lists of lists and strings",
    ),
    Row(
        "segment_mean", "upstream_in_half", "fail",
        ("low-precision", "wrong-value"),
        "narrows the upstream gradient to bfloat16 and nothing else",
    ),
    Row(
        "moments", "array_of_objects", "fail",
        ("tampered", "raises", "wrong-value", "forward-mismatch"),
        "an array of objects that add up when somebody looks",
    ),
    Row(
        "pairwise_distance", "permanent_mode", "fail",
        ("zero-gradient",),
        "a torch function mode that stays on rewrites every comparison and copy",
    ),
    Row("kl_divergence", "out_variant", "fail", ("forbidden-op",), "the library's kernel by its overload with out"),
    Row(
        "group_norm", "vmapped_library", "fail",
        ("forbidden-op",),
        "the library's op below torch.func.vmap, where modes see batched tensors",
    ),
    Row("swiglu", "forward_mode", "fail", ("forbidden-op",), "forward-mode derivatives of the library's activation"),
    Row(
        "huber_loss", "watches_its_caller", "fail",
        ("zero-gradient",),
        "traces all functions of its process from the import on and looks for expected values in their variables",
    ),
)
# fmt: on

ROWS = SOUND + MISTAKEN + CHEATING
