"""Training a classifier with a defence: the one training step, runs, checkpoints."""
