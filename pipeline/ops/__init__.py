"""Operator tools: account for every message, trace any, prove that nothing is missing."""
