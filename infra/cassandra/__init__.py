"""The history in Cassandra: what was said, for good."""

from infra.cassandra.digest import TableDigest, digest_keyspace, first_row
from infra.cassandra.history import CassandraHistory
from infra.cassandra.migrations import apply_migrations

__all__ = ["CassandraHistory", "TableDigest", "apply_migrations", "digest_keyspace", "first_row"]
