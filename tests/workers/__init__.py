"""Tests of `gradcheck_lab.workers`."""
