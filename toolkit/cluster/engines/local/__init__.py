"""The local engine: worker processes on the machine of the notebook kernel."""
