"""Code that nobody trusts, judged: a process that knows nothing of the task runs it, and this one compares and decides."""
