"""The live page: a study as it fills in, in a browser on this machine."""
