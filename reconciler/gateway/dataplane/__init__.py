"""The data plane: the request path itself, from a consumer's request to a host and back."""
