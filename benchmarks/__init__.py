"""Measurements: scripts that are run by path, and `python -m benchmarks.nsa` and `.report`."""
