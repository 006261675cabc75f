"""A decoder's whole step in C++, one call for any mix of prefill and decode."""
