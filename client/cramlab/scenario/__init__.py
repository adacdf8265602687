"""Scenarios: hosts, a timeline of faults and what must hold, from a TOML file; run live or simulated."""
