"""The request path of the embedded host: key check, account selection, forwarding, billing."""
