"""One message through every hop."""
