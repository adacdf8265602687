"""One device, three hosts, real programs: filled, driven into exhaustion, recovered, verified."""
