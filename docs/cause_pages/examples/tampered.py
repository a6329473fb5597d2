"""A candidate returns a tensor of a class of its own, whose numbers could be made whenever somebody looks at them. What a call
returns has to be there when it returns, in ordinary tensors that nothing writes to afterwards: no subclass, no tensor without
memory, no buffer that a thread still fills.
"""

from pathlib import Path

import gradcheck_lab as gl

Path("task.py").write_text("""
from gradcheck_lab.specs import real

specs = (real("n d"),)

def reference(x):
    return x.tanh()
""")

Path("candidate.py").write_text("""
import torch

class Later(torch.Tensor):
    pass

def candidate(x):
    return x.tanh().as_subclass(Later)
""")

# %% call
report = gl.judge("task.py", "candidate.py", examples=1, seed=0)

# %% mended
Path("candidate.py").write_text("""
def candidate(x):
    return x.tanh()
""")
