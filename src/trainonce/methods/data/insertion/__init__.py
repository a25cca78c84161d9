"""Item treatments: items inserted into the data, each as often as a dose drawn at random says.

Each draws its items with ``stream.passages`` or ``stream.random``, gives them doses with `assign`,
and ends with ``stream.insert``. All depends on the seed, the question and its settings alone.
"""
