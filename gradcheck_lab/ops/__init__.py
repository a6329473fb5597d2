"""Hand-written ops: each a forward, its backward, and specs of its inputs. One family a file."""

from __future__ import annotations

from gradcheck_lab.ops.activations import clamp, elu, hardtanh, leaky_relu, relu
from gradcheck_lab.ops.arithmetic import add, div, mul, neg, sub
from gradcheck_lab.ops.attention import rotary_embedding, scaled_dot_product_attention
from gradcheck_lab.ops.batch_norm import batch_norm
from gradcheck_lab.ops.binary_losses import binary_cross_entropy_with_logits
from gradcheck_lab.ops.class_losses import nll_loss, two_step_cross_entropy
from gradcheck_lab.ops.contractions import bilinear, einsum, outer
from gradcheck_lab.ops.convolution import conv1d, conv2d
from gradcheck_lab.ops.cross_entropy import softmax_cross_entropy
from gradcheck_lab.ops.divergences import cosine_similarity, kl_div
from gradcheck_lab.ops.elementwise import abs, cos, exp, log, log1p, rsqrt, sin, sqrt
from gradcheck_lab.ops.extremes import amax, amin, logsumexp
from gradcheck_lab.ops.indexing import gather, index_select, masked_fill
from gradcheck_lab.ops.joining import concatenate, split, stack
from gradcheck_lab.ops.linear import affine, linear, matmul
from gradcheck_lab.ops.moments import std, var
from gradcheck_lab.ops.moving import flip, pad, roll, tril
from gradcheck_lab.ops.normalisation import group_norm, layer_norm, rms_norm
from gradcheck_lab.ops.norms import norm
from gradcheck_lab.ops.pooling import avg_pool2d, max_pool2d
from gradcheck_lab.ops.powers import pow
from gradcheck_lab.ops.products import prod
from gradcheck_lab.ops.recurrent import gru_cell, lstm_cell
from gradcheck_lab.ops.regression_losses import huber_loss, l1_loss, mse_loss
from gradcheck_lab.ops.selection import maximum, minimum, where
from gradcheck_lab.ops.shapes import expand, permute, reshape, squeeze, transpose, unsqueeze
from gradcheck_lab.ops.smooth_activations import gelu, sigmoid, silu, softplus, tanh
from gradcheck_lab.ops.softmax import log_softmax, softmax
from gradcheck_lab.ops.sums import cumsum, mean, sum
from gradcheck_lab.ops.tables import dropout, embedding
from gradcheck_lab.rules.op import Op

FAMILIES: dict[str, tuple[Op, ...]] = {
    "arithmetic": (add, sub, mul, div, neg),
    "class_losses": (softmax_cross_entropy, nll_loss, two_step_cross_entropy, binary_cross_entropy_with_logits),
    "regression_losses": (mse_loss, l1_loss, huber_loss),
    "divergences": (kl_div, cosine_similarity),
    "activations": (relu, leaky_relu, elu, hardtanh, clamp),
    "smooth activations": (tanh, sigmoid, softplus, gelu, silu),
    "elementwise": (exp, log, log1p, sqrt, rsqrt, abs, sin, cos),
    "selection": (where, maximum, minimum),
    "powers": (pow,),
    "linear": (linear, affine, matmul),
    "sums": (sum, mean, cumsum),
    "moments": (var, std),
    "extremes": (amax, amin, logsumexp),
    "products": (prod,),
    "norms": (norm,),
    "softmax": (softmax, log_softmax),
    "normalisation": (layer_norm, rms_norm, group_norm),
    "batch_norm": (batch_norm,),
    "contractions": (outer, bilinear, einsum),
    "shapes": (reshape, transpose, permute, expand, squeeze, unsqueeze),
    "joining": (concatenate, stack, split),
    "moving": (flip, roll, pad, tril),
    "indexing": (gather, index_select, masked_fill),
    "convolution": (conv1d, conv2d),
    "pooling": (max_pool2d, avg_pool2d),
    "tables": (embedding, dropout),
    "attention": (scaled_dot_product_attention, rotary_embedding),
    "recurrent": (lstm_cell, gru_cell),
}

__all__ = [
    "FAMILIES",
    "abs",
    "add",
    "affine",
    "amax",
    "amin",
    "avg_pool2d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy_with_logits",
    "clamp",
    "concatenate",
    "conv1d",
    "conv2d",
    "cos",
    "cosine_similarity",
    "cumsum",
    "div",
    "dropout",
    "einsum",
    "elu",
    "embedding",
    "exp",
    "expand",
    "flip",
    "gather",
    "gelu",
    "group_norm",
    "gru_cell",
    "hardtanh",
    "huber_loss",
    "index_select",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "lstm_cell",
    "masked_fill",
    "matmul",
    "max_pool2d",
    "maximum",
    "mean",
    "minimum",
    "mse_loss",
    "mul",
    "neg",
    "nll_loss",
    "norm",
    "outer",
    "pad",
    "permute",
    "pow",
    "prod",
    "relu",
    "reshape",
    "rms_norm",
    "roll",
    "rotary_embedding",
    "rsqrt",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "sin",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "tril",
    "two_step_cross_entropy",
    "unsqueeze",
    "var",
    "where",
]
