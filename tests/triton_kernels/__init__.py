"""Eight kernels of our own, each with its classic mistakes and sound: what runs of Triton is run in its interpreter."""
