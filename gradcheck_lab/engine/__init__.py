"""The manual engine: `Variable`, which walks hand-written rules without autograd."""
