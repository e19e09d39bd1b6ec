"""The routing plugin: control API, runtime plane and data plane in one process, each with credentials of its own.

Only `app.py` and `server.py` know all of them; everything else meets in `contract.py`.
"""
