"""The soak: many hosts on one device, killed and hurt at random for minutes, and everything verified."""
