import math

import torch

BLOCK_M = 16
BLOCK_N = 16


def _mask(scores, i0, j0):
    rows = torch.arange(i0, i0 + scores.shape[-2], device=scores.device)[:, None]
    cols = torch.arange(j0, j0 + scores.shape[-1], device=scores.device)[None, :]
    return scores.masked_fill(cols > rows, float("-inf"))


class FlashAttention(torch.autograd.Function):
    """FlashAttention-2 in plain PyTorch: forward keeps O and the log-sum-exp L, backward recomputes P."""

    @staticmethod
    def forward(ctx, q, k, v, causal=True):
        b, t, d = q.shape
        scale = 1.0 / math.sqrt(max(d, 1))
        out = torch.empty_like(v, memory_format=torch.contiguous_format)
        lse = q.new_empty(b, t, 1)
        for i in range(0, t, BLOCK_M):
            qi = q[:, i:i + BLOCK_M] * scale
            m = q.new_full((b, qi.shape[1], 1), float("-inf"))
            l = torch.zeros_like(m)
            acc = torch.zeros_like(v[:, i:i + BLOCK_M])
            for j in range(0, t, BLOCK_N):
                if causal and j > i + BLOCK_M - 1:
                    break
                s = qi @ k[:, j:j + BLOCK_N].transpose(1, 2)
                if causal:
                    s = _mask(s, i, j)
                m_new = torch.maximum(m, s.amax(-1, keepdim=True))
                p = torch.exp(s - m_new)
                alpha = torch.exp(m - m_new)
                l = l * alpha + p.sum(-1, keepdim=True)
                acc = acc * alpha + p @ v[:, j:j + BLOCK_N]
                m = m_new
            out[:, i:i + BLOCK_M] = acc / l
            lse[:, i:i + BLOCK_M] = m + torch.log(l)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.causal, ctx.scale = causal, scale
        return out

    @staticmethod
    def backward(ctx, do):
        q, k, v, out, lse = ctx.saved_tensors
        t = q.shape[1]
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        delta = (do * out).sum(-1, keepdim=True)
        for j in range(0, t, BLOCK_N):
            kj, vj = k[:, j:j + BLOCK_N], v[:, j:j + BLOCK_N]
            for i in range(0, t, BLOCK_M):
                if ctx.causal and j > i + BLOCK_M - 1:
                    continue
                qi, doi = q[:, i:i + BLOCK_M], do[:, i:i + BLOCK_M]
                s = (qi * ctx.scale) @ kj.transpose(1, 2)
                if ctx.causal:
                    s = _mask(s, i, j)
                p = torch.exp(s - lse[:, i:i + BLOCK_M])
                dv[:, j:j + BLOCK_N] += p.transpose(1, 2) @ doi
                ds = p * (doi @ vj.transpose(1, 2) - delta[:, i:i + BLOCK_M]) * ctx.scale
                dq[:, i:i + BLOCK_M] += ds @ kj
                dk[:, j:j + BLOCK_N] += ds.transpose(1, 2) @ qi
        return dq, dk, dv, None


candidate = FlashAttention
