"""The daemon: the same journey by interval, with health, status and a clean stop."""
