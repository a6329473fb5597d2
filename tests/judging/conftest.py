"""The candidates are data: they are not imported when tests or doctests are collected."""

collect_ignore = ["tasks"]
