"""Logits to tokens: a pure function of (logits, parameters, seed, choice, position)."""
