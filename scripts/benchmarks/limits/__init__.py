"""What the machine and the libraries cost without a product around them."""
