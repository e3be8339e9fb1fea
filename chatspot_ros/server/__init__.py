"""A request's life in plain Python, from arrival to answer."""
