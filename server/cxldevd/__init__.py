"""The service around the device: `cxldevd`."""
