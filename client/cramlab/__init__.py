"""The experimenter's side: the only place that puts device and host together."""
