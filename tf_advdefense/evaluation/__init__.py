"""How robust a classifier is: per-example measurements, their statistics and flags."""
