"""Rows for the detection benchmark, written after reports of wrong gradients by people who had not seen the probes."""
