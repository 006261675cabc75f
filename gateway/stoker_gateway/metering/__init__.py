"""Usage: one event per attempt, written where it survives the process."""
