"""Ready bundles of data, model, objective and probes."""
