"""What a client of servers on loopback passes as `verify`: no certificate authority is read, and none is trusted.

Reading the authorities takes 50 ms for each new client, more than most tests' requests together.
"""

from __future__ import annotations

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
