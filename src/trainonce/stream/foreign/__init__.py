"""Tokens that other trainers wrote, read in place."""
