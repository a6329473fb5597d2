"""Many checks as one campaign: planned as a list of cases, run on one machine or on several, and continued where it ended."""
