"""What tests of several rooms share: private servers and leak checks."""
