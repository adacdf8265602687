"""The device: pure. Time, randomness and bytes come in as arguments."""
