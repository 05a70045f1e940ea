"""The wire contract between host and agent."""
