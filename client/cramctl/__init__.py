"""The operator's command: `cramctl`."""
