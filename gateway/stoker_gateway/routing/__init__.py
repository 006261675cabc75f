"""Where a request may go: an immutable table of endpoints, and a pure choice among them."""
