"""Functions that several processes compute together: the ranks, how a tensor lies on them, and what goes wrong between them."""
