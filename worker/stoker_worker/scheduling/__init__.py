"""Requests, the token budget, the block pool and the prefix cache: plain values, no torch."""
