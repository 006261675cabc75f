"""Weights from a hub or a bucket into a folder: chosen, resumed, checked; what `serve` then opens."""
