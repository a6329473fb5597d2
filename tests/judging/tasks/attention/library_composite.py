import torch.nn.functional as F


def candidate(q, k, v, causal=True):
    """Optimised attention kernel."""
    out = F.scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), is_causal=causal)
    return out.squeeze(1)
