"""The live engine: real processes on this machine's clock."""
