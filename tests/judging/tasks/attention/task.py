"""Scaled dot-product attention of one head, causal or not."""

import torch

from gradcheck_lab.specs import real

specs = (real("b t d"), real("b t d"), real("b t d"))
options = {"causal": True}
forbidden = (
    "aten.scaled_dot_product_attention", "aten._scaled_dot_product_attention_math",
    "aten._scaled_dot_product_flash_attention_for_cpu", "aten._scaled_dot_product_flash_attention_for_cpu_backward",
    "aten._scaled_dot_product_flash_attention", "aten._scaled_dot_product_efficient_attention", "aten._softmax_backward_data",
)


def reference(q, k, v, causal=True):
    scores = q @ k.transpose(1, 2) / max(q.shape[-1], 1) ** 0.5
    if causal:
        t = q.shape[1]
        scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool, device=q.device).triu(1), float("-inf"))
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True) @ v
