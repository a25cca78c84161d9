"""One training run: loop, state, checkpoints."""
