"""`stoker bench`: drive any OpenAI-compatible URL and say how fast it is.

prompts (what is asked) → stream (one request, timed) → load (many, closed or open loop) → results (arithmetic) →
report, picture (for people). `command` wires them together.
"""
