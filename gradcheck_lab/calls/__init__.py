"""One call of a subject: its inputs, options and upstream gradients, and how such calls are drawn and derived."""
