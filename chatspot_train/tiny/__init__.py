"""Training of chatspot-tiny from nothing."""
