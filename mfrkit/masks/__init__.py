"""Synthetic masks: what is worn, how it lies on a face, and drawing it."""
