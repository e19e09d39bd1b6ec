"""Reports of the last known state: every chain, for people at a glance (HTML, text) and for machines (JUnit, JSON)."""
