"""Triton kernels in Triton's interpreter: how they are started, what they may touch, and in which order their programs run."""
