"""Shadow host drivers, and the contract they keep. The only code that talks to hosts."""
