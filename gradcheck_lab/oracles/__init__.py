"""What says what the gradient should be: one oracle a file, each returning `Estimate(value, error)`."""
