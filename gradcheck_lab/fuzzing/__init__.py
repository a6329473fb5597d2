"""How calls are drawn, examined, shrunk, saved and replayed: what is behind `gl.fuzz` and `gradcheck_lab.strategies`."""
