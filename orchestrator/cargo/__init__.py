"""What travels with a job: sources, code, data."""
