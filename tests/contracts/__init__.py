"""What every implementation of a port must hold: the same checks run on its memory twin and on its engine.

A check uses names of its own, so any number of checks may run on one engine, in any order.
"""
