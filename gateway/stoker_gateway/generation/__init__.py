"""From a validated request to what a worker is asked, and from its tokens to what the client reads."""
