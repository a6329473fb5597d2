"""Layer objects with `forward` and `backward`, in torch or NumPy."""
