"""Hand-written rules as users write them: ops and layers."""
