"""The client of the control plane: snapshot, stage, promote, resolve, probe tokens and logs."""
