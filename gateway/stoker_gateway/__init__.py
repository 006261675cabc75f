"""OpenAI in, tokens out: routes, limits, meters."""
