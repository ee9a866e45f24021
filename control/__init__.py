"""What a person or a program sees of a gateway and does to it: the local API and its page."""
