"""Probes of the traces that training leaves in a model."""
