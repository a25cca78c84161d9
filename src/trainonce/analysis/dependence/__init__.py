"""Whether experiments that share a run touch each other."""
