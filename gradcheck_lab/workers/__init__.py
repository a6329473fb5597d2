"""Code run apart: calls in processes of their own, whose end is an outcome of the call and of nothing else."""
