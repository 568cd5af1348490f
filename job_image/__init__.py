"""What goes into a job's machine: the agent that runs its command, and the synthesis program."""
