"""The autograd oracle: passes over the same forward, and what they say at kinks and under rounding."""
