"""Words and arithmetic that two rooms must agree on. Imports the standard library only."""
