"""The agent on the board: measures latency and power of models sent by a host. Nothing heavy is imported here."""
