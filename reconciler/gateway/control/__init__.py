"""The control API under `/api/v1`: a table of operations, from which the routes and the OpenAPI document both come."""
