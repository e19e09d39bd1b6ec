"""The HTTP client towards admin APIs, of hosts and of the control plane alike: it knows none of them."""
