"""Talking to workers: the only package that knows the wire's messages."""
