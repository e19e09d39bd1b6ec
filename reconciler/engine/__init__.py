"""The journey of a manifest: observe, plan, expand, stage, prove, promote, contract. Called by commands and daemon."""
