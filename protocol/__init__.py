"""What clients and the server say to each other, and the Python SDK; imports no server code."""
