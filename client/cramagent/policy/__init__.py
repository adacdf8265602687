"""What the host decides: events in, effects out. No I/O, no clocks, no threads."""
