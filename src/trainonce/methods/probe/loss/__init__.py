"""Probes of how well a language model predicts text."""
