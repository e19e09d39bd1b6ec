"""The sub2api dialect: one driver, one file per host object.

Source for every endpoint, field and rule in this package: the sources of sub2api v0.1.179, `backend/internal`,
https://github.com/Wei-Shaw/sub2api, checked against a running server of that version.
"""

from reconciler.hosts.sub2api.driver import Sub2apiDriver

__all__ = ["Sub2apiDriver"]
