"""A task asks for a softmax by hand and forbids torch's own. The candidate calls that, on a thread, where a dispatch mode would
not see it. The operator is taken away from the dispatcher before the candidate is imported, so that no mode, thread or guard
brings it back.
"""

from pathlib import Path

import gradcheck_lab as gl

Path("task.py").write_text("""
from gradcheck_lab.specs import real

specs = (real("n d"),)
forbidden = ("aten._softmax", "aten._softmax_backward_data")

def reference(x):
    weights = (x - x.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True)
""")

Path("candidate.py").write_text("""
from concurrent.futures import ThreadPoolExecutor

import torch

def candidate(x):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.softmax, x, -1).result()
""")

# %% call
report = gl.judge("task.py", "candidate.py", examples=1, seed=0)

# %% mended
Path("candidate.py").write_text("""
def candidate(x):
    weights = (x - x.detach().amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True)
""")
