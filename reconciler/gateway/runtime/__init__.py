"""The runtime plane: what the gateway learns while running, in memory or in Redis."""
