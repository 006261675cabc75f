"""`stoker chat`: talk to a model.

client (one streamed answer) → conversation (messages, slash commands) → terminal (what a person sees and types).
"""
