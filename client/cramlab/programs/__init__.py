"""Real programs whose memory the demo's agents shadow, run as `python -m cramlab.programs.NAME`."""
