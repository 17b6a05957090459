"""What the commands do once their flags are accepted; all of it needs TensorFlow."""
