"""Backends behind one signature; `torch_backend` is the reference that all others are tested against."""
