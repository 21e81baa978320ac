"""What the programs in scripts/ share: the environment, a server to talk to, a raw client."""
