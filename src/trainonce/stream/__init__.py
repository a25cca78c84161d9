"""What a run reads: corpora, tokens, order, overlay."""
