"""How a call that cannot be read might be meant: the nearest readings, and a wrapper that states one of them by hand."""
