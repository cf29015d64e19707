"""What the user brings: models, data, checkpoints."""
