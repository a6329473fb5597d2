"""Hand-written gradients that are no objects: pairs of functions, losses that return their gradient, context classes."""
