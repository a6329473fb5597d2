"""Gradients compared with the truth: the error budget, one gradient, one backward, one program."""
