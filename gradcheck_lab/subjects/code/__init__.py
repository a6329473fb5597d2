"""What the source of forwards and backwards says: options and constants they are compared with, values kept and read."""
