"""The file a user writes: schema, loading, errors with line numbers."""
