"""The log into one stage again, from a plan that is kept."""
