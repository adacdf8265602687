"""The host: its policy (pure) and the runner around it: `cram-agent`."""
