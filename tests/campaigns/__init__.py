"""Campaigns: planned, run, killed, continued, divided and merged."""
