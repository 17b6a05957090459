"""What attacks share: the one object, the one runner, models, balls, losses, draws."""
