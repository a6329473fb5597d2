"""The line of a report that fails again when it is pasted into Python."""
