"""The custom resources as typed values: one source for what is parsed, and for the CRDs that the API server enforces."""
