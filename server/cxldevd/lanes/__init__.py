"""The same-host transport: commands and pages through shared memory, the same calls behind it as gRPC's."""
