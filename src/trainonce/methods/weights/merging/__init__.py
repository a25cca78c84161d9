"""Merging models of one shape."""
