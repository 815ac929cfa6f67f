"""What a store of shared limits and its twin agree on."""

from __future__ import annotations

from typing import Final

__all__ = ["CREDIT_KEPT_MS", "DEMAND_KEPT_MS", "MAX_SUSPENDED"]

MAX_SUSPENDED: Final = 10_000
CREDIT_KEPT_MS: Final = 300
"""What a tenant did not use is left over for so long."""
DEMAND_KEPT_MS: Final = 2_000
"""A gateway that has not spoken for so long asks for nothing."""
