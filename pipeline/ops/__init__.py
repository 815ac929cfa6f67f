"""Operator tools: account for every message, trace any, replay, rebuild, redrive what failed."""
