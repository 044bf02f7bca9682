"""Measurements: figures with ratios to something real, taken in one run, never as a timed test."""
