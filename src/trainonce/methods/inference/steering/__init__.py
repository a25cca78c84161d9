"""Steering a model by the difference of two others."""
