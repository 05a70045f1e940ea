"""The command `host`: one place turns our errors into one line and an exit code."""
