"""Scenarios in emulated time: the whole service and the whole agent on one clock, in one thread."""
