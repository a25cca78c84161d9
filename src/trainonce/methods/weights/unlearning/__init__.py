"""Methods that make a trained model forget texts."""
