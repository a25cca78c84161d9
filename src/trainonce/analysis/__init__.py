"""From measurements to answers: effects, intervals, tests, corrections, verdicts."""
