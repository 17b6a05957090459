"""Attacks of a fixed radius along the gradient."""
