"""A pytest plugin: devices and hosts as fixtures, for anybody's own test suite. See docs/testing.md."""
