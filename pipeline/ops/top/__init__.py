"""Every stage, gateway and group, live."""
