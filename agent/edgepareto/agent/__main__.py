"""The command `edgepareto-agent`."""
