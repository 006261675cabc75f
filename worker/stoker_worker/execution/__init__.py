"""Runs a planned step on a device: batch arrays, device state, KV storage."""
