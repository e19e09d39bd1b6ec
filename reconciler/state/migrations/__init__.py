"""Schema migrations, run by `reconciler.state.schema`."""
