"""Decisions of the operator: plain functions over what was observed, without a clock, a network or a log."""
