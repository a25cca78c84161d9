"""The specs of jobs: all that determines a result, and nothing else.

A job's key is the hash of its spec.
"""
