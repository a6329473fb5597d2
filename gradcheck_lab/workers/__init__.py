"""Calls in worker processes. A call that ends its process, or takes too long, ends with an outcome; this process goes on."""
