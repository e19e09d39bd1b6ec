"""The admin and user API of the embedded host, one file per resource."""
