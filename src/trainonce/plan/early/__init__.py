"""Stopping arms early that are losing: pure functions of their learning curves.

A curve is what an arm's outcome was at each checkpoint so far; lower is better, so that a score
goes in with its sign turned. Every rule states the chance that it stops the arm that would have
ended best, over a whole study.
"""
