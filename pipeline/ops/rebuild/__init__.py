"""Cassandra and Redis anew out of the log."""
