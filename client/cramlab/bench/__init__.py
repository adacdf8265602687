"""What the device does per second, against plain zstandard on the same pages in the same round."""
