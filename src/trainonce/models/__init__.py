"""What a run trains: small reference models, and causal models from Hugging Face."""
