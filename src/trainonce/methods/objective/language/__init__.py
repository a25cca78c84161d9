"""Objectives of language models: the losses of tokens, from logits and the tokens to come."""
