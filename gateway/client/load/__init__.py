"""`im bench`: an open-model load on a running system, and what came of it."""
