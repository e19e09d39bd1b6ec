"""The test stand of the gateway's benchmarks: programs side by side on loopback, driven by wrk, watched in /proc."""
