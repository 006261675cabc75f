"""Masks that keep output inside a grammar. Nothing constrains yet."""
