"""A gateway on memory twins, under uvloop, as in the folder above."""

from __future__ import annotations

from tests.gateway.conftest import pytest_asyncio_loop_factories, world

__all__ = ["pytest_asyncio_loop_factories", "world"]
