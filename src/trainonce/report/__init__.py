"""Answers for people: terminal, one HTML file, JSON."""
