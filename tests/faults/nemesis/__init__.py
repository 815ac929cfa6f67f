"""The faults: one file per family, and `catalogue.py` with all their kinds."""
