"""The history in Cassandra: what was said, for good."""

from infra.cassandra.history import CassandraHistory
from infra.cassandra.migrations import apply_migrations

__all__ = ["CassandraHistory", "apply_migrations"]
