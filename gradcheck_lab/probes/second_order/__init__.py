"""The derivative of the backward itself."""
