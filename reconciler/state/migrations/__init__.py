"""Schema migrations, run by `reconciler.state.migrations.run`."""
