"""Simulated users: what they know, what they do, and the log of both."""
