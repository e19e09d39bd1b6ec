"""Shadow host drivers, the contract they keep and the transport they share. The only code that talks to hosts."""
