"""Probes of what a language model recalls of single items."""
