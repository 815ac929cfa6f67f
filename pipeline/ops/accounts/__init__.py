"""What came in and what became of it: the ledger that runs along, and `im verify` over a stretch of time."""
