"""Between the operator and others."""
