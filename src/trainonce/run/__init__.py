"""Carries a plan out: a local pool of processes, and a cache of finished jobs."""
