"""The numeric oracle: derivatives of a forward that autograd cannot follow, with an error bound."""
