"""The device's own live page, beside `/metrics`: what it shows, and the half hour that it remembers."""
