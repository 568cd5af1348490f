"""What runs inside a job: the agent that carries the contract and the program that makes textures."""
