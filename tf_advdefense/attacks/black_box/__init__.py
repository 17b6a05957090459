"""Attacks that see scores or decisions only, and baselines that see nothing."""
